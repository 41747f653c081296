/* What the peers in C and C++ have in common: their arguments, how the payload is
 * written and read, and how it is measured. It is what the floors of memlane bench do
 * (cmd/memlane/internal/bench/testdata/floor.c), with the same loops over the payload,
 * so that what differs is the peer.
 *
 * A peer is one process of two. Its arguments are
 *	PART SIDE FOLDER PROCESSOR SIZE BATCH GROUP WARM LENGTH
 * PART is trips or oneway; the times are in ms. Side 0 measures, and prints a line
 *	messages nanoseconds groups singles
 * and then as many times of groups of round trips and of single ones, as uint32 in ns.
 * It includes this file after it has defined
 *	static void peer_send(const char *message);      waits until there is room
 *	static const char *peer_receive(void);           valid until the next call
 */
#define ALWAYS static inline __attribute__((always_inline))

enum {
	samples_max = 1 << 18,
	groups_least = 16, /* however slow the machine is just now */
	outs_count = 16,   /* messages that are written before the first of them is sent */
	outs_most = 4096,  /* bytes of a message of which several are written */
	burst = 1024,      /* messages between two looks at the clock, at least */
};
static const uint64_t final = 1ull << 63; /* in the number of the last message */

static const char *part, *folder;
static int side;
static long size, group, warm_ns, length_ns;
static char *outs; /* messages that this side writes, outs_stride apart */
static long outs_stride;

static void peer_send(const char *message);
static const char *peer_receive(void);

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

ALWAYS void fill(char *b, uint64_t v)
{
	uint64_t *w = (uint64_t *)b;
	long words = size / 8;
	for (; words >= 4; words -= 4, w += 4) {
		w[0] = v;
		w[1] = v;
		w[2] = v;
		w[3] = v;
	}
	for (; words > 0; words--)
		*w++ = v;
}

ALWAYS uint64_t sum(const char *b)
{
	const uint64_t *w = (const uint64_t *)b;
	uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
	long words = size / 8;
	for (; words >= 4; words -= 4, w += 4) {
		s0 += w[0];
		s1 += w[1];
		s2 += w[2];
		s3 += w[3];
	}
	for (; words > 0; words--)
		s0 += *w++;
	return s0 + s1 + s2 + s3;
}

/* take receives message v, reads all of it, and returns whether it was the last. */
ALWAYS int take(uint64_t v)
{
	const char *b = peer_receive();
	uint64_t got = *(const uint64_t *)b;
	if ((got & ~final) != v) {
		fprintf(stderr, "receive: message %llu instead of %llu\n", (unsigned long long)(got & ~final), (unsigned long long)v);
		exit(1);
	}
	if (sum(b) != got * (uint64_t)(size / 8)) {
		fprintf(stderr, "receive: message %llu is torn\n", (unsigned long long)v);
		exit(1);
	}
	return (got & final) != 0;
}

ALWAYS void send_number(uint64_t v)
{
	fill(outs, v);
	peer_send(outs);
}

static uint32_t groups[samples_max], singles[samples_max];

static void print_samples(uint64_t n, int64_t took, long ngroups, long nsingles)
{
	printf("%llu %lld %ld %ld\n", (unsigned long long)n, (long long)took, ngroups, nsingles);
	fwrite(groups, sizeof groups[0], ngroups, stdout);
	fwrite(singles, sizeof singles[0], nsingles, stdout);
}

static void answer_trips(void)
{
	int over = 0;
	for (uint64_t v = 1; !over; v++) {
		over = take(v);
		send_number(over ? v | final : v);
	}
}

ALWAYS void trip(uint64_t v)
{
	send_number(v);
	take(v & ~final);
}

/* round_trips looks at the clock, which takes some 20 ns, after each trip only half of
 * the time, and else after a group of them. */
static void round_trips(void)
{
	if (side == 1) {
		answer_trips();
		return;
	}
	uint64_t v = 0, n = 0;
	long ngroups = 0, nsingles = 0;
	int64_t begun = now(), measured = begun, t = begun;
	while ((t - begun < warm_ns + length_ns || ngroups < groups_least) && nsingles + group <= samples_max && ngroups < samples_max) {
		int counts = t - begun >= warm_ns;
		if (!counts)
			measured = t;
		int64_t before = now();
		for (long i = 0; i < group; i++)
			trip(++v);
		t = now();
		if (counts) {
			groups[ngroups++] = (uint32_t)(t - before);
			n += group;
		}
		if (group == 1)
			continue;
		for (long i = 0; i < group; i++) {
			trip(++v);
			int64_t after = now();
			if (counts)
				singles[nsingles++] = (uint32_t)(after - t);
			t = after;
		}
		if (counts)
			n += group;
	}
	int64_t took = t - measured;
	trip(++v | final);
	print_samples(n, took, ngroups, nsingles);
}

/* written is how many messages are written before the first one of them is sent. Who
 * copies a word with wider loads before it has left the processor's store buffer waits
 * for that, which would be most of the time that is measured. */
ALWAYS long written(void) { return size > outs_most ? 1 : outs_count; }

/* send_burst sends messages from v on, and returns the number after them. */
static uint64_t send_burst(uint64_t v, int last)
{
	long count = size > outs_most ? 1 : burst;
	for (long i = 0; i < count; i += written()) {
		int ends = last && i + written() >= count;
		for (long k = 0; k < written(); k++)
			fill(outs + k * outs_stride, ends && k == written() - 1 ? (v + k) | final : v + k);
		for (long k = 0; k < written(); k++)
			peer_send(outs + k * outs_stride);
		v += written();
	}
	return v;
}

/* one_way measures how many messages get through until the last one has been read,
 * which side 1 says with a message of its own. The first phase is to warm up. */
static void one_way(void)
{
	uint64_t v = 1;
	for (uint64_t phase = 1; phase <= 2; phase++) {
		if (side == 1) {
			while (!take(v++))
				;
			send_number(phase);
			continue;
		}
		uint64_t first = v;
		int64_t begun = now(), end = begun + (phase == 1 ? warm_ns : length_ns);
		for (int last = 0; !last;) {
			last = now() >= end;
			v = send_burst(v, last);
		}
		take(phase);
		if (phase == 2)
			print_samples(v - first, now() - begun, 0, 0);
	}
}

/* pin keeps the calling thread on one processor, and those that it starts later, unless
 * they are let go. */
static void pin(int processor)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (processor >= 0 && sched_setaffinity(0, sizeof set, &set) != 0)
		fail("pin to a processor", strerror(errno));
}

/* begin reads the arguments. */
static int begin(int argc, char *argv[])
{
	if (argc != 10) {
		fputs("usage: peer trips|oneway SIDE FOLDER PROCESSOR SIZE BATCH GROUP WARM LENGTH\n", stderr);
		exit(2);
	}
	part = argv[1];
	side = atoi(argv[2]);
	folder = argv[3];
	size = atol(argv[5]);
	group = atol(argv[7]);
	warm_ns = atol(argv[8]) * 1000000;
	length_ns = atol(argv[9]) * 1000000;
	outs_stride = (size + 63) / 64 * 64;
	outs = (char *)aligned_alloc(64, written() * outs_stride);
	if (outs == NULL)
		fail("room for messages", strerror(errno));
	memset(outs, 0, written() * outs_stride);
	memset(groups, 0, sizeof groups); /* so that no page is missing later */
	memset(singles, 0, sizeof singles);
	return atoi(argv[4]);
}

static void measure(void)
{
	if (strcmp(part, "trips") == 0)
		round_trips();
	else if (strcmp(part, "oneway") == 0)
		one_way();
	else
		fail("measure", "the part is neither trips nor oneway");
}
