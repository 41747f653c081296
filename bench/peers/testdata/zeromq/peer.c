/* ZeroMQ over ipc://, which is a Unix socket: a pair of PAIR sockets, one in each
 * process. zmq_send and zmq_recv copy the message in and out, and sleep while they
 * cannot: whoever looks again and again with ZMQ_DONTWAIT instead takes the processor
 * from the socket's I/O thread, which moves the messages (two processors, two I/O
 * threads). The I/O threads may run anywhere, the thread here is pinned.
 *
 * API: https://libzmq.readthedocs.io, zmq_socket(3), zmq_ipc(7). */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "../measure.h"

static void *socket_;
static char *in;

static void peer_send(const char *message)
{
	if (zmq_send(socket_, message, size, 0) != size)
		fail("zmq_send", zmq_strerror(zmq_errno()));
}

static const char *peer_receive(void)
{
	if (zmq_recv(socket_, in, size, 0) != size)
		fail("zmq_recv", zmq_strerror(zmq_errno()));
	return in;
}

int main(int argc, char *argv[])
{
	if (argc == 2 && strcmp(argv[1], "version") == 0) {
		int major, minor, patch;
		zmq_version(&major, &minor, &patch);
		printf("%d.%d.%d\n", major, minor, patch);
		return 0;
	}
	int processor = begin(argc, argv);
	in = (char *)aligned_alloc(64, outs_stride);
	void *context = zmq_ctx_new();
	if (in == NULL || context == NULL || (socket_ = zmq_socket(context, ZMQ_PAIR)) == NULL)
		fail("zmq_socket", zmq_strerror(zmq_errno()));
	memset(in, 0, outs_stride);
	char address[4096];
	snprintf(address, sizeof address, "ipc://%s/pair", folder);
	/* Who connects first tries again until the other one has bound. */
	if ((side == 0 ? zmq_bind(socket_, address) : zmq_connect(socket_, address)) != 0)
		fail(address, zmq_strerror(zmq_errno()));
	pin(processor); /* after the I/O thread has begun */
	measure();
	zmq_close(socket_); /* with the context's end: sends what is left */
	zmq_ctx_term(context);
	return 0;
}
