// Boost.Interprocess message_queue: two queues, one in each direction, in shared memory
// under a mutex and a condition variable of the library. try_send and try_receive copy
// the message in and out; they are called again and again until there is room, or a
// message.
//
// API: https://www.boost.org/doc/libs/1_74_0/doc/html/interprocess/synchronization_mechanisms.html#interprocess.synchronization_mechanisms.message_queue
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/version.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "../measure.h"

using boost::interprocess::message_queue;

static std::unique_ptr<message_queue> to, from;
static char *in;

static void peer_send(const char *message)
{
	while (!to->try_send(message, size, 0))
		;
}

static const char *peer_receive(void)
{
	message_queue::size_type got;
	unsigned priority;
	while (!from->try_receive(in, size, got, priority))
		;
	if (got != (message_queue::size_type)size)
		fail("try_receive", "the message has another size");
	return in;
}

// queueOf makes or opens the queue to a side. Its name begins with the folder's, by
// which who has made the folder finds and removes it.
static std::unique_ptr<message_queue> queueOf(int to_side)
{
	std::string name = folder;
	name = name.substr(name.rfind('/') + 1) + "-to-" + std::to_string(to_side);
	long slots = std::max(8L, std::min(1024L, (4L << 20) / size));
	return std::make_unique<message_queue>(boost::interprocess::open_or_create, name.c_str(), slots, size);
}

int main(int argc, char *argv[])
{
	if (argc == 2 && strcmp(argv[1], "version") == 0) {
		printf("%d.%d.%d\n", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100);
		return 0;
	}
	try {
		int processor = begin(argc, argv);
		in = (char *)aligned_alloc(64, outs_stride);
		if (in == nullptr)
			fail("room for a message", strerror(errno));
		memset(in, 0, outs_stride);
		pin(processor);
		to = queueOf(1 - side);
		from = queueOf(side);
		measure();
	} catch (const std::exception &e) {
		fail("message_queue", e.what());
	}
	return 0;
}
