/* The floors of memlane bench: what the processor and the kernel take for the same
 * when there is nothing else. One process for one measurement, with the arguments
 * PART SIDE FILE PROCESSOR SIZE BATCH GROUP WARM LENGTH, the times in ms. Side 0
 * measures, side 1 answers; it prints the same as the Go side. The loops over the
 * payload are those of payload.go. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ALWAYS static inline __attribute__((always_inline))

/* Where things are in the half of the file that a side writes. */
enum {
	word_at = 0,      /* what the other side waits for */
	ready_at = 512,   /* both have begun */
	cursor_at = 1024, /* of the ring */
	second_at = 2048, /* sixteen lines, for what is behind the word */
	data_at = 4096,
	samples_max = 1 << 18,
	groups_least = 16, /* however slow the machine is just now */
	slots = 1024, /* of the ring */
	ring_bytes = slots * 64,
	outs_count = 16, /* messages that are written before the first of them is sent */
};
static const uint64_t final = 1ull << 63; /* in the number of the last message */

static char *mine, *his;
static int side;
static long size, batch, group, warm_ns, length_ns;
static char *out, *in; /* private payload */
static char *outs;     /* several, for one way */

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

ALWAYS uint64_t load(char *p) { return __atomic_load_n((uint64_t *)p, __ATOMIC_ACQUIRE); }
ALWAYS void store(char *p, uint64_t v) { __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELEASE); }

ALWAYS void fill(char *b, long n, uint64_t v)
{
	uint64_t *w = (uint64_t *)b;
	long words = n / 8;
	for (; words >= 4; words -= 4, w += 4) {
		w[0] = v;
		w[1] = v;
		w[2] = v;
		w[3] = v;
	}
	for (; words > 0; words--)
		*w++ = v;
}

ALWAYS uint64_t sum(const char *b, long n)
{
	const uint64_t *w = (const uint64_t *)b;
	uint64_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
	long words = n / 8;
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

/* check returns whether it was the last message. */
ALWAYS int check(uint64_t got, uint64_t want)
{
	if ((got & ~final) != want) {
		fprintf(stderr, "message %llx instead of %llx\n", (unsigned long long)got, (unsigned long long)want);
		exit(1);
	}
	return (got & final) != 0;
}

ALWAYS int check_payload(const char *b, uint64_t want)
{
	uint64_t got = *(const uint64_t *)b;
	int over = check(got, want);
	if (sum(b, size) != got * (uint64_t)(size / 8)) {
		fprintf(stderr, "message %llx is torn\n", (unsigned long long)want);
		exit(1);
	}
	return over;
}

/* --- one line --- */
ALWAYS void line_send(uint64_t v) { store(mine + word_at, v); }
ALWAYS int line_take(uint64_t v)
{
	uint64_t got;
	while (((got = load(his + word_at)) & ~final) != v)
		;
	return (got & final) != 0;
}

/* --- two lines: the second is where the first one says --- */
ALWAYS void two_send(uint64_t v)
{
	*(uint64_t *)(mine + second_at + v % 16 * 64) = v;
	store(mine + word_at, v);
}
ALWAYS int two_take(uint64_t v)
{
	uint64_t got;
	while (((got = load(his + word_at)) & ~final) != v)
		;
	return check(*(uint64_t *)(his + second_at + got % 16 * 64), v);
}

/* --- a copy in, a copy out --- */
ALWAYS void copy_send(uint64_t v)
{
	fill(out, size, v);
	memcpy(mine + data_at, out, size);
	store(mine + word_at, v);
}
ALWAYS int copy_take(uint64_t v)
{
	while ((load(his + word_at) & ~final) != v)
		;
	memcpy(in, his + data_at, size);
	return check_payload(in, v);
}

/* --- a futex --- */
ALWAYS void futex_send(uint64_t v)
{
	uint32_t word = (uint32_t)v | (v & final ? 1u << 31 : 0);
	__atomic_store_n((uint32_t *)(mine + word_at), word, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, mine + word_at, FUTEX_WAKE, 1, NULL, NULL, 0);
}
ALWAYS int futex_take(uint64_t v)
{
	for (;;) {
		uint32_t got = __atomic_load_n((uint32_t *)(his + word_at), __ATOMIC_SEQ_CST);
		if ((got & ~(1u << 31)) == (uint32_t)v)
			return got >> 31;
		syscall(SYS_futex, his + word_at, FUTEX_WAIT, got, NULL, NULL, 0);
	}
}

static uint32_t groups[samples_max], singles[samples_max];

ALWAYS void round_trips(void (*send)(uint64_t), int (*take)(uint64_t))
{
	if (side == 1) {
		for (uint64_t v = 1;; v++) {
			int over = take(v);
			send(over ? v | final : v);
			if (over)
				return;
		}
	}
	uint64_t v = 0, n = 0;
	long ngroups = 0, nsingles = 0;
	int64_t begun = now(), measured = begun, t = begun;
	while ((t - begun < warm_ns + length_ns || ngroups < groups_least) && nsingles + group <= samples_max && ngroups < samples_max) {
		int counts = t - begun >= warm_ns;
		if (!counts)
			measured = t;
		int64_t before = now();
		for (long i = 0; i < group; i++) {
			send(++v);
			take(v);
		}
		t = now();
		if (counts) {
			groups[ngroups++] = (uint32_t)(t - before);
			n += group;
		}
		if (group == 1)
			continue;
		for (long i = 0; i < group; i++) {
			send(++v);
			take(v);
			int64_t after = now();
			if (counts)
				singles[nsingles++] = (uint32_t)(after - t);
			t = after;
		}
		if (counts)
			n += group;
	}
	int64_t took = t - measured;
	send(++v | final);
	take(v);
	printf("%llu %lld %ld %ld\n", (unsigned long long)n, (long long)took, ngroups, nsingles);
	fwrite(groups, sizeof groups[0], ngroups, stdout);
	fwrite(singles, sizeof singles[0], nsingles, stdout);
}

/* --- one way, through a ring: of slots of a line, or of batches behind a line --- */

static uint64_t cursor, limit; /* of this side */

static long outs_stride;

ALWAYS void prefetch_for_write(char *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw (%0)" : : "r"(p)); /* gcc knows it with -mprfchw only */
#else
	__builtin_prefetch(p, 1);
#endif
}

/* put sends n messages, which have been written from message on. */
ALWAYS void put(uint64_t position, const char *message, long n, long stride, uint64_t mask)
{
	while (position - limit > mask)
		limit = load(his + cursor_at);
	char *slot = mine + data_at + (position & mask) * stride;
	if (n == 1)
		memcpy(slot + 8, message, size);
	else
		for (long i = 0; i < n; i++)
			memcpy(slot + 64 + i * size, message + i * outs_stride, size);
	store(slot, position + 1);
	prefetch_for_write(mine + data_at + ((position + 7) & mask) * stride);
}

ALWAYS int get(uint64_t position, uint64_t v, long n, long stride, uint64_t mask)
{
	char *slot = his + data_at + (position & mask) * stride;
	if (load(slot) != position + 1) {
		if (cursor != position)
			store(mine + cursor_at, cursor = position);
		while (load(slot) != position + 1)
			;
	}
	int over = 0;
	if (n == 1) {
		memcpy(in, slot + 8, size);
		over = check_payload(in, v);
	} else {
		for (long i = 0; i < n; i++) {
			memcpy(in, slot + 64 + i * size, size);
			over = check_payload(in, v + i);
		}
	}
	if (position + 1 - cursor > mask / 8)
		store(mine + cursor_at, cursor = position + 1);
	return over;
}

static void one_way(void)
{
	long stride = batch == 1 && size <= 56 ? 64 : 64 + (batch * size + 63) / 64 * 64;
	uint64_t count = slots;
	while (count > 8 && count * stride > ring_bytes * 4)
		count /= 2;
	long burst = size > 4096 ? 1 : 1024; /* messages between two looks at the clock, at least */
	uint64_t mask = count - 1, position = 0, v = 1, n = 0;
	/* Who copies a word with wider loads before it has left the processor's store
	 * buffer waits for that: so several are written before the first one is sent. */
	long written = batch > outs_count || size > 4096 ? batch : outs_count / batch * batch;
	outs_stride = (size + 63) / 64 * 64;
	if (posix_memalign((void **)&outs, 64, written * outs_stride) != 0)
		fail("memory");
	memset(outs, 0, written * outs_stride);
	for (int phase = 0; phase < 2; phase++) {
		/* The first one is to warm up. */
		if (side == 1) {
			for (int over = 0; !over; v += batch)
				over = get(position++, v, batch, stride, mask);
			store(mine + cursor_at, cursor = position);
			store(mine + word_at, phase + 1);
			continue;
		}
		uint64_t first = v;
		int64_t begun = now(), end = begun + (phase == 0 ? warm_ns : length_ns);
		for (int over = 0; !over;) {
			over = now() >= end;
			for (long i = 0; i < burst; i += written, v += written) {
				int ends = over && i + written >= burst;
				for (long k = 0; k < written; k++)
					fill(outs + k * outs_stride, size, ends && k == written - 1 ? (v + k) | final : v + k);
				for (long k = 0; k < written; k += batch)
					put(position++, outs + k * outs_stride, batch, stride, mask);
			}
		}
		while (load(his + word_at) != (uint64_t)phase + 1)
			;
		n = v - first;
		if (phase == 1)
			printf("%llu %lld 0 0\n", (unsigned long long)n, (long long)(now() - begun));
	}
}

int main(int argc, char *argv[])
{
	if (argc != 10)
		return 2;
	const char *part = argv[1];
	side = atoi(argv[2]);
	int processor = atoi(argv[4]);
	size = atol(argv[5]);
	batch = atol(argv[6]);
	group = atol(argv[7]);
	warm_ns = atol(argv[8]) * 1000000;
	length_ns = atol(argv[9]) * 1000000;
	if (processor >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(processor, &set);
		if (sched_setaffinity(0, sizeof set, &set) != 0)
			fail("sched_setaffinity");
	}
	int fd = open(argv[3], O_RDWR);
	long bytes = lseek(fd, 0, SEEK_END);
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (fd < 0 || memory == MAP_FAILED)
		fail(argv[3]);
	mine = memory + side * (bytes / 2);
	his = memory + (1 - side) * (bytes / 2);
	if (posix_memalign((void **)&out, 64, size + 64) != 0 || posix_memalign((void **)&in, 64, size + 64) != 0)
		fail("memory");
	memset(out, 0, size);
	memset(in, 0, size);
	memset(groups, 0, sizeof groups);
	memset(singles, 0, sizeof singles);
	store(mine + ready_at, 1);
	while (load(his + ready_at) != 1)
		usleep(50);
	if (strcmp(part, "floor-line") == 0)
		round_trips(line_send, line_take);
	else if (strcmp(part, "floor-two-lines") == 0)
		round_trips(two_send, two_take);
	else if (strcmp(part, "floor-copy") == 0)
		round_trips(copy_send, copy_take);
	else if (strcmp(part, "floor-futex") == 0)
		round_trips(futex_send, futex_take);
	else if (strcmp(part, "floor-ring") == 0)
		one_way();
	else
		return 2;
	return 0;
}
