/* The C side of bench/sync: what the C library and the kernel offer for the same
 * purpose. Like the Go side it is one process for one short measurement, and gets
 * the same arguments: PART KIND SIDE FILE MILLISECONDS. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Where things are in the file; arena.go has the same numbers. Two cache lines
 * apart, because processors fetch the neighbour too. */
enum {
	bytes = 1 << 20,
	ready_at = 0, /* one for each side */
	stop_at = 2 * 128,
	begin_at = 3 * 128,
	turns_at = 4 * 128,
	primitives_at = 4096,
	apart = 128,
	samples_max = 200000,
	ring = 3,
	look_after = 64, /* operations, at the clock */
};

static char *memory; /* the file; anonymous where there is none */
static long length_ns;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void must(const char *what, int error)
{
	if (error != 0) {
		errno = error;
		fail(what);
	}
}

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void map_file(const char *path)
{
	int fd = open(path, O_RDWR);
	if (fd < 0)
		fail(path);
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	close(fd);
}

static atomic_uint *word_at(int at) { return (atomic_uint *)(memory + at); }
static pthread_mutex_t *mutex_at(int i) { return (pthread_mutex_t *)(memory + primitives_at + i * apart); }
static sem_t *sem_of(int i) { return (sem_t *)(memory + primitives_at + i * apart); }

static void make_mutex(int i, int robust)
{
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	must("pshared", pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
	if (robust)
		must("robust", pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
	must("mutex_init", pthread_mutex_init(mutex_at(i), &a));
}

/* init makes the primitives, before anybody else has the file. */
static void init(const char *kind)
{
	for (int i = 0; i < ring; i++)
		if (strcmp(kind, "sem") == 0) {
			if (sem_init(sem_of(i), 1, 0) != 0)
				fail("sem_init");
		} else {
			make_mutex(i, strcmp(kind, "plain") != 0);
		}
}

/* --- uncontended --- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void mutex_pairs(int n)
{
	pthread_mutex_t *m = mutex_at(0);
	for (int i = 0; i < n; i++) {
		pthread_mutex_lock(m);
		pthread_mutex_unlock(m);
	}
}

static void sem_pairs(int n)
{
	sem_t *s = sem_of(0);
	for (int i = 0; i < n; i++) {
		sem_wait(s);
		sem_post(s);
	}
}

static void uncontended(const char *kind)
{
	enum { pairs = 1000, batches_max = 100000 };
	static double took[batches_max];
	void (*run)(int) = mutex_pairs;
	if (strcmp(kind, "sem") == 0) {
		run = sem_pairs;
		sem_post(sem_of(0));
	}
	int n = 0;
	run(pairs);
	for (int64_t end = now() + length_ns, t = now(); t < end && n < batches_max;) {
		run(pairs);
		int64_t after = now();
		took[n++] = (double)(after - t) / pairs;
		t = after;
	}
	qsort(took, n, sizeof took[0], compare);
	printf("%g\n", took[n / 2]);
}

/* --- hand-off: get waits for this side's turn, give makes it the other's --- */

static int side;     /* 0 measures, 1 answers */
static int position; /* in the ring of mutexes */

static void futex_get(void)
{
	atomic_uint *w = word_at(primitives_at);
	for (unsigned v = atomic_load(w); (int)(v & 1) != side; v = atomic_load(w))
		syscall(SYS_futex, w, FUTEX_WAIT, v, NULL, NULL, 0);
}

static void futex_give(void)
{
	atomic_uint *w = word_at(primitives_at);
	atomic_fetch_add(w, 1);
	syscall(SYS_futex, w, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void pause_processor(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void spin_get(void)
{
	atomic_uint *w = word_at(primitives_at);
	while ((int)(atomic_load_explicit(w, memory_order_acquire) & 1) != side)
		pause_processor();
}

static void spin_give(void)
{
	/* Only whose turn it is writes. */
	atomic_uint *w = word_at(primitives_at);
	atomic_store_explicit(w, atomic_load_explicit(w, memory_order_relaxed) + 1, memory_order_release);
}

static void sem_get(void)
{
	while (sem_wait(sem_of(side)) != 0)
		if (errno != EINTR)
			fail("sem_wait");
}

static void sem_give(void)
{
	if (sem_post(sem_of(1 - side)) != 0)
		fail("sem_post");
}

/* Three mutexes in a ring, and two processes that go round it hand over hand: each
 * step needs the mutex that the other one's last step has let go. */
static void ring_get(void) { must("lock", pthread_mutex_lock(mutex_at((position + 1) % ring))); }

static void ring_give(void)
{
	must("unlock", pthread_mutex_unlock(mutex_at(position)));
	position = (position + 1) % ring;
}

static void handoff(const char *kind)
{
	static uint32_t samples[samples_max];
	void (*get)(void) = futex_get, (*give)(void) = futex_give;
	/* The floors are bare: nothing but the word passes between the two. */
	int bare = 1;
	if (strcmp(kind, "spin") == 0) {
		get = spin_get;
		give = spin_give;
	} else if (strcmp(kind, "sem") == 0) {
		get = sem_get;
		give = sem_give;
		bare = 0;
		if (side == 0)
			sem_post(sem_of(0));
	} else if (strcmp(kind, "robust") == 0) {
		get = ring_get;
		give = ring_give;
		bare = 0;
		position = 1 - side;
		must("lock", pthread_mutex_lock(mutex_at(position)));
	}
	volatile uint64_t *turns = (uint64_t *)(memory + turns_at);
	atomic_store(word_at(ready_at + side * apart), 1);
	while (atomic_load(word_at(ready_at + (1 - side) * apart)) == 0)
		usleep(50);
	uint64_t total = 0, n = 0;
	if (side == 1) {
		for (get(); atomic_load(word_at(stop_at)) == 0; get()) {
			total++;
			if (!bare)
				++*turns;
			give();
		}
	} else {
		get();
		give();
		get();
		total = 1;
		int64_t t = now(), warm = t + length_ns / 5, end = warm + length_ns;
		while (t < end && n < samples_max) {
			if (!bare)
				++*turns;
			give();
			get();
			total++;
			int64_t after = now();
			if (t > warm) {
				int64_t took = after - t;
				samples[n++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
			}
			t = after;
		}
		atomic_store(word_at(stop_at), 1);
		give();
	}
	fwrite(&total, sizeof total, 1, stdout);
	fwrite(samples, sizeof samples[0], n, stdout);
}

/* --- contended --- */

static void contended(void)
{
	uint64_t n = 0;
	volatile uint64_t *turns = (uint64_t *)(memory + turns_at);
	printf("ready\n");
	fflush(stdout);
	while (atomic_load(word_at(begin_at)) == 0)
		usleep(100);
	int64_t longest = 0, t = now();
	while (atomic_load_explicit(word_at(stop_at), memory_order_relaxed) == 0) {
		for (int i = 0; i < look_after; i++, n++) {
			must("lock", pthread_mutex_lock(mutex_at(0)));
			++*turns;
			must("unlock", pthread_mutex_unlock(mutex_at(0)));
		}
		int64_t after = now();
		longest = after - t > longest ? after - t : longest;
		t = after;
	}
	printf("%llu\n%lld\n", (unsigned long long)n, (long long)longest);
}

/* --- death --- */

static void hold(void)
{
	must("lock", pthread_mutex_lock(mutex_at(0)));
	printf("held\n");
	fflush(stdout);
	for (;;)
		pause();
}

static int64_t locked; /* when */
static int lock_error;
static int owner; /* a pidfd; 0 if the mutex tells of the death */

static void *wait_for_death(void *unused)
{
	if (owner > 0) {
		poll(&(struct pollfd){.fd = owner, .events = POLLIN}, 1, -1);
		locked = now();
		lock_error = EOWNERDEAD;
		close(owner);
		return unused;
	}
	lock_error = pthread_mutex_lock(mutex_at(0));
	locked = now();
	if (lock_error == EOWNERDEAD)
		must("consistent", pthread_mutex_consistent(mutex_at(0)));
	must("unlock", pthread_mutex_unlock(mutex_at(0)));
	return unused;
}

/* kill_owners kills the processes that it is told of on its standard input. It
 * does so itself, so that one clock measures both ends. */
static void kill_owners(const char *kind)
{
	int pid;
	while (scanf("%d", &pid) == 1) {
		pthread_t waiter;
		if (strcmp(kind, "end") == 0 && (owner = syscall(SYS_pidfd_open, pid, 0)) < 0)
			fail("pidfd_open");
		must("thread", pthread_create(&waiter, NULL, wait_for_death, NULL));
		usleep(length_ns / 1000); /* it sleeps in the kernel by then */
		int64_t killed = now();
		if (kill(pid, SIGKILL) != 0)
			fail("kill");
		must("join", pthread_join(waiter, NULL));
		if (lock_error != EOWNERDEAD)
			must("lock after a kill", lock_error ? lock_error : EPROTO);
		printf("%lld\n", (long long)(locked - killed));
		fflush(stdout);
	}
}

/* --- rest --- */

static void timer(void)
{
	printf("waiting\n");
	fflush(stdout);
	for (;;)
		nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
}

int main(int argc, char *argv[])
{
	if (argc != 6)
		return 2;
	const char *part = argv[1], *kind = argv[2];
	side = atoi(argv[3]);
	length_ns = atol(argv[5]) * 1000000;
	map_file(argv[4]);
	if (strcmp(part, "init") == 0)
		init(kind);
	else if (strcmp(part, "uncontended") == 0)
		uncontended(kind);
	else if (strcmp(part, "handoff") == 0)
		handoff(kind);
	else if (strcmp(part, "contended") == 0)
		contended();
	else if (strcmp(part, "hold") == 0)
		hold();
	else if (strcmp(part, "kill") == 0)
		kill_owners(kind);
	else if (strcmp(part, "timer") == 0)
		timer();
	else
		return 2;
	return 0;
}
