/*
 * Small programs that produce exact numbers of events, for tests that compare counts for equality.
 *
 *     workload [--wait] NAME ARGUMENTS...
 *
 * Nothing is printed but how long naps and waits were, and errors, on stderr, with exit status 1 (2 for a wrong command line). With --wait:
 *
 *     prints "pid N", waits for a line on stdin; does its work; prints "done", waits for a line or the end of stdin
 *
 * so that a tracer can attach before the work, and can look at the living process after it. Waiting and printing use
 * readv and writev, and no workload does: the counts of every other system call belong to the workload alone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* noipa: calls and arguments stay as written, whatever the optimizer knows about them. */
#define TRACED __attribute__((noinline, noipa))

static const char *const names[] = { "alpha", "beta", "gamma" };

static void fail(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void print_line(const char *text)
{
	struct iovec part = { (void *)text, strlen(text) };

	if (writev(1, &part, 1) < 0)
		fail("stdout");
}

/* Reads up to the end of a line or of the input, never past it. */
static void wait_for_line(void)
{
	char byte;
	struct iovec part = { &byte, 1 };

	while (readv(0, &part, 1) == 1 && byte != '\n')
		;
}

/* getppid N: exactly N getppid system calls. */
static void run_getppid(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		syscall(SYS_getppid);
}

/* calls N: N calls of workload_call; names go round alpha, beta, gamma; number is i % 4, depth is i. */
TRACED int workload_call(const char *name, int number, long depth)
{
	__asm__ volatile("" : : "r"(name), "r"(depth));
	return number * 2;
}

static void run_calls(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		workload_call(names[i % 3], i % 4, i);
}

/* chain N: N times outer_function -> middle_function -> inner_function, with number i, i + 1, i + 2. */
TRACED long inner_function(long number)
{
	__asm__ volatile("" : "+r"(number));
	return number;
}

TRACED long middle_function(long number)
{
	return inner_function(number + 1) + 1;
}

TRACED long outer_function(long number)
{
	return middle_function(number + 1) + 1;
}

static void run_chain(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		outer_function(i);
}

/* inlined N: N calls of inlined_callee from outer_inlined, which is inlined in inlined_caller. */
TRACED long inlined_callee(long number)
{
	return inner_function(number) + 1;
}

static inline __attribute__((always_inline)) long outer_inlined(long number)
{
	return inlined_callee(number + 1) + 1;
}

TRACED long inlined_caller(long number)
{
	return outer_inlined(number) + 1;
}

static void run_inlined(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		inlined_caller(i);
}

/* recursion N: one call of recurse(N), which calls itself down to recurse(0); it returns its depth. */
TRACED long recurse(long depth)
{
	return depth == 0 ? 0 : recurse(depth - 1) + 1;
}

static void run_recursion(long depth, const char *unused)
{
	(void)unused;
	recurse(depth);
}

/* branches N: N calls of branch_end, each by another way through branch_left and branch_right, of 14 steps: up to 16384. */
TRACED long branch_end(long number)
{
	__asm__ volatile("" : "+r"(number));
	return number;
}

TRACED long branch_right(long way, long steps);

TRACED long branch_left(long way, long steps)
{
	if (steps == 0)
		return branch_end(way) + 1;
	return (way & 1 ? branch_right(way >> 1, steps - 1) : branch_left(way >> 1, steps - 1)) + 1;
}

TRACED long branch_right(long way, long steps)
{
	if (steps == 0)
		return branch_end(way) + 2;
	return (way & 1 ? branch_right(way >> 1, steps - 1) : branch_left(way >> 1, steps - 1)) + 2;
}

static void run_branches(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		branch_left(i, 14);
}

/* records N: N calls of workload_record; members follow from the number of the call. */
struct point {
	int x;
	short y;
};

enum color { RED, GREEN, BLUE };

struct record {
	int number;
	unsigned int low : 3;
	unsigned int high : 5;
	enum color color;
	char name[16];
	const char *label;
	struct point corner;
	unsigned short sizes[4];
	struct record *previous;
};

TRACED long workload_record(struct record *record, struct point corner)
{
	__asm__ volatile("" : : "r"(record), "r"(corner.x) : "memory");
	return record->number;
}

static void run_records(long count, const char *unused)
{
	static struct record records[2];

	(void)unused;
	for (long i = 0; i < count; i++) {
		struct record *record = &records[i % 2];

		memset(record, 0, sizeof(*record));
		record->number = i;
		record->low = i % 8;
		record->high = i % 32;
		record->color = i % 3;
		snprintf(record->name, sizeof(record->name), "record-%ld", i % 1000);
		record->label = names[i % 3];
		record->corner = (struct point){ .x = i * 10, .y = -(i % 100) };
		for (int k = 0; k < 4; k++)
			record->sizes[k] = i % 100 + k;
		record->previous = i ? &records[(i + 1) % 2] : NULL;
		workload_record(record, record->corner);
	}
}

/*
 * typed N: N calls each of typed_numbers, typed_mixed, typed_large and typed_label, with parameters of all kinds; their
 * values follow from the number of the call.
 */
enum workload_mood { MOOD_GRIM = -2, MOOD_CALM = 0, MOOD_MERRY = 7 };

struct workload_thing {
	int number;
	unsigned int low : 3;
	int high : 5;
	enum workload_mood mood;
	char name[16];
	const char *label;
	struct point corner;
	union {
		int whole;
		short halves[2];
	};
	unsigned short sizes[2][3];
	_Bool ready;
	struct workload_thing *next;
};

struct workload_large {
	long parts[3];
};

static const enum workload_mood moods[] = { MOOD_GRIM, MOOD_CALM, MOOD_MERRY };

TRACED _Bool typed_numbers(signed char tiny, unsigned short small, int number, unsigned long wide, _Bool ready,
			   char letter)
{
	__asm__ volatile("" : : "r"(tiny), "r"(small), "r"(wide), "r"(letter));
	return ready && number < 0;
}

/* Not all are in registers for integers: ratio and large are not, corner takes one, and sixth is the last that is. */
TRACED enum workload_mood typed_mixed(double ratio, const char *name, struct point corner,
				      struct workload_thing *thing, struct workload_large large,
				      enum workload_mood mood, long fifth, long sixth, long last)
{
	__asm__ volatile("" : : "x"(ratio), "r"(name), "r"(corner.x), "r"(large.parts[0]), "r"(fifth), "r"(sixth), "r"(last));
	return thing->ready ? mood : MOOD_CALM;
}

/* The first register says where the result goes. */
TRACED struct workload_large typed_large(long first)
{
	return (struct workload_large){ { first, first + 1, first + 2 } };
}

TRACED const char *typed_label(const struct workload_thing *thing)
{
	return thing->label;
}

static void run_typed(long count, const char *unused)
{
	static struct workload_thing things[2];

	(void)unused;
	for (long i = 0; i < count; i++) {
		struct workload_thing *thing = &things[i % 2];
		struct workload_large large;

		memset(thing, 0, sizeof(*thing));
		thing->number = -i;
		thing->low = i % 8;
		thing->high = -(i % 16);
		thing->mood = moods[i % 3];
		snprintf(thing->name, sizeof(thing->name), "thing-%ld", i % 1000);
		thing->label = names[i % 3];
		thing->corner = (struct point){ .x = i * 10, .y = -(i % 100) };
		thing->halves[0] = i;
		thing->halves[1] = -1;
		for (int k = 0; k < 6; k++)
			thing->sizes[k / 3][k % 3] = i % 100 + k;
		thing->ready = i % 2;
		thing->next = i ? &things[(i + 1) % 2] : NULL;
		typed_numbers(-i, 65535 - i, -1 - i, (1UL << 63) + i, i % 2, 'a' + i % 26);
		large = typed_large(i * 100);
		typed_mixed(i / 2.0, names[i % 3], thing->corner, thing, large, moods[i % 3], i + 5, i + 6, i + 7);
		typed_label(thing);
	}
}

/* reads N SIZE: N read system calls of SIZE bytes from /dev/zero. */
static void run_reads(long count, const char *argument)
{
	size_t size = strtoul(argument, NULL, 0);
	char *buffer = malloc(size + 1);
	int file = open("/dev/zero", O_RDONLY);

	if (file < 0 || !buffer)
		fail("/dev/zero");
	for (long i = 0; i < count; i++)
		if (syscall(SYS_read, file, buffer, size) != (long)size)
			fail("read");
}

/* writes N SIZE: N write system calls of SIZE bytes to /dev/null. */
static void run_writes(long count, const char *argument)
{
	size_t size = strtoul(argument, NULL, 0);
	char *buffer = calloc(1, size + 1);
	int file = open("/dev/null", O_WRONLY);

	if (file < 0 || !buffer)
		fail("/dev/null");
	for (long i = 0; i < count; i++)
		if (syscall(SYS_write, file, buffer, size) != (long)size)
			fail("write");
}

/* opens N PATH: N openat system calls of PATH, each closed again where it succeeds. */
static void run_opens(long count, const char *path)
{
	for (long i = 0; i < count; i++) {
		long file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);

		if (file >= 0)
			close(file);
	}
}

static void wait_for_child(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		fail("child");
}

/* forks N: N children, one after the other, which exit at once. */
static void run_forks(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		wait_for_child(child);
	}
}

/* ends N: N children, one after the other, of which each exits with status 3; then one that SIGTERM ends. */
static void run_ends(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i <= count; i++) {
		int status, expected = i < count ? 3 << 8 : SIGTERM;
		pid_t child = fork();

		if (child == 0) {
			signal(SIGTERM, SIG_DFL);
			if (i == count)
				raise(SIGTERM);
			_exit(3);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status != expected)
			fail("child");
	}
}

/* execs N: N children, one after the other, which run `workload true`. */
static void run_execs(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++) {
		pid_t child = fork();

		if (child == 0) {
			execl("/proc/self/exe", "workload", "true", (char *)NULL);
			_exit(127);
		}
		wait_for_child(child);
	}
}

/* sleeps N MICROSECONDS: N nanosleep system calls. */
static void run_sleeps(long count, const char *argument)
{
	long microseconds = strtol(argument, NULL, 0);
	struct timespec duration = { microseconds / 1000000, microseconds % 1000000 * 1000 };

	for (long i = 0; i < count; i++)
		syscall(SYS_nanosleep, &duration, NULL);
}

/* spin MILLISECONDS: burns CPU in spin_here, called from spin_outer. */
static volatile unsigned long spun;

TRACED void spin_here(long rounds)
{
	for (long i = 0; i < rounds; i++)
		spun++;
}

TRACED void spin_outer(long milliseconds)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		spin_here(1000000);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < milliseconds);
}

static void run_spin(long milliseconds, const char *unused)
{
	(void)unused;
	spin_outer(milliseconds);
	__asm__ volatile("");
}

/*
 * nested N: N times nested_one -> ... -> nested_five -> qsort -> nested_compare -> nested_end, which makes one getppid call.
 * nested_spin MILLISECONDS: the same calls, which burn CPU in spin_here below nested_end, again and again.
 */
static long nested_milliseconds;

TRACED long nested_end(long number)
{
	if (nested_milliseconds > 0)
		spin_outer(nested_milliseconds);
	else
		syscall(SYS_getppid);
	return number;
}

TRACED int nested_compare(const void *left, const void *right)
{
	volatile long kept[6] = { *(const long *)left, *(const long *)right };

	return nested_end(kept[0]) < kept[1];
}

TRACED long nested_five(long number)
{
	long numbers[2] = { number, number + 1 };

	qsort(numbers, 2, sizeof(numbers[0]), nested_compare);
	return numbers[0];
}

/* Its frame is of a size that is known only when it runs: compilers need the frame pointer for it. */
TRACED long nested_four(long number)
{
	volatile char room[16 + number % 7 * 16];

	room[0] = 1;
	return nested_five(number + room[0]) + room[0];
}

/* Its frame is aligned: what is above it is found through a register of its own. */
TRACED long nested_three(long number)
{
	volatile long aligned[8] __attribute__((aligned(64))) = { number };

	return nested_four(aligned[0]) + aligned[0];
}

TRACED long nested_two(long number)
{
	volatile long kept[37] = { number };

	return nested_three(kept[0]) + kept[0];
}

TRACED long nested_one(long number)
{
	return nested_two(number) + number;
}

static void run_nested(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		nested_one(i);
}

static void run_nested_spin(long milliseconds, const char *unused)
{
	(void)unused;
	nested_milliseconds = milliseconds;
	nested_one(1);
	__asm__ volatile("");
}

/* burn N: N milliseconds of processor time, three quarters of them in burn_most and the rest in burn_rest. */
static volatile unsigned long burnt;

static double processor_time(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

__attribute__((noinline)) static void burn_most(double seconds)
{
	for (double end = processor_time() + seconds; processor_time() < end;)
		for (int i = 0; i < 20000; i++)
			burnt += i;
	burnt++;
}

__attribute__((noinline)) static void burn_rest(double seconds)
{
	for (double end = processor_time() + seconds; processor_time() < end;)
		for (int i = 0; i < 20000; i++)
			burnt += i;
	burnt--;
}

static void run_burn(long milliseconds, const char *unused)
{
	(void)unused;
	/* In turns, so that nothing else that happens meanwhile falls on one of them alone. */
	for (int turn = 0; turn < 10; turn++) {
		burn_most(milliseconds * 0.75 / 10000);
		burn_rest(milliseconds * 0.25 / 10000);
	}
}

/*
 * naps N MICROSECONDS: N sleeps of that length in nap_here, and a tenth of them, each as long, in nap_there. Prints for how many
 * microseconds the thread was away from its processor in each, `slept HERE THERE`.
 */
TRACED void nap_here(const struct timespec *duration)
{
	long result;

	/* A system call of its own: libc's functions have no frame pointers, and their caller would be missing. */
	__asm__ volatile("syscall" : "=a"(result) : "0"(SYS_nanosleep), "D"(duration), "S"(0L) : "rcx", "r11", "memory");
}

TRACED void nap_there(const struct timespec *duration)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(SYS_nanosleep), "D"(duration), "S"(0L) : "rcx", "r11", "memory");
}

/* The clock of a thread that stands still while it runs: on a busy machine a nap takes longer than the thread is away. */
static long microseconds_away(void)
{
	struct timespec now, ran;

	clock_gettime(CLOCK_MONOTONIC, &now);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran);
	return (now.tv_sec - ran.tv_sec) * 1000000 + (now.tv_nsec - ran.tv_nsec) / 1000;
}

static void run_naps(long count, const char *argument)
{
	long microseconds = strtol(argument, NULL, 0), here = 0, there = 0;
	char line[64];
	struct timespec duration = { microseconds / 1000000, microseconds % 1000000 * 1000 };

	for (long i = 0; i < count; i++) {
		here -= microseconds_away();
		nap_here(&duration);
		here += microseconds_away();
		if (i % 10 == 9) {
			there -= microseconds_away();
			nap_there(&duration);
			there += microseconds_away();
		}
	}
	snprintf(line, sizeof(line), "slept %ld %ld\n", here, there);
	print_line(line);
}

/*
 * rounds N: N rounds of 10 milliseconds of processor time in burn_most and a sleep of 30 in nap_here. Prints for how many microseconds it has
 * slept in all, `slept N`.
 */
static void run_rounds(long count, const char *unused)
{
	struct timespec duration = { .tv_nsec = 30000000 };
	long slept = 0;
	char line[64];

	(void)unused;
	for (long i = 0; i < count; i++) {
		burn_most(0.010);
		slept -= microseconds_away();
		nap_here(&duration);
		slept += microseconds_away();
	}
	snprintf(line, sizeof(line), "slept %ld\n", slept);
	print_line(line);
}

/*
 * wakes N: a thread called sleeper waits N times for a byte in wait_here; each comes 20 milliseconds after the last, from wake_here. Prints for how
 * many microseconds it has waited in all, `waited N`.
 */
TRACED void wait_here(int fd, char *byte)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(SYS_read), "D"((long)fd), "S"(byte), "d"(1L) : "rcx", "r11", "memory");
}

TRACED void wake_here(int fd, const char *byte)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(SYS_write), "D"((long)fd), "S"(byte), "d"(1L) : "rcx", "r11", "memory");
}

static struct {
	int ends[2];
	long count;
	long waited;
} waking;

static void *wait_for_bytes(void *unused)
{
	char byte;

	(void)unused;
	pthread_setname_np(pthread_self(), "sleeper");
	waking.waited -= microseconds_away();
	for (long i = 0; i < waking.count; i++)
		wait_here(waking.ends[0], &byte);
	waking.waited += microseconds_away();
	return NULL;
}

static void run_wakes(long count, const char *unused)
{
	struct timespec duration = { .tv_nsec = 20000000 };
	pthread_t thread;
	char line[64];

	(void)unused;
	waking.count = count;
	if (pipe(waking.ends) < 0 || pthread_create(&thread, NULL, wait_for_bytes, NULL) != 0)
		fail("pipe");
	for (long i = 0; i < count; i++) {
		nap_here(&duration);
		wake_here(waking.ends[1], "");
	}
	pthread_join(thread, NULL);
	snprintf(line, sizeof(line), "waited %ld\n", waking.waited);
	print_line(line);
}

/*
 * allocations N BYTES[:GROWN]: N times BYTES from malloc in allocate_kept, which are kept, and as often from calloc in
 * allocate_freed, which are given back; every fourth of the former becomes GROWN bytes (twice as
 * many, if not given) by realloc in grow_kept.
 */
TRACED void *allocate_kept(size_t bytes)
{
	void *memory = malloc(bytes);

	__asm__ volatile("" : : "r"(memory) : "memory");
	return memory;
}

TRACED void *grow_kept(void *memory, size_t bytes)
{
	memory = realloc(memory, bytes);
	__asm__ volatile("" : : "r"(memory) : "memory");
	return memory;
}

TRACED void *allocate_freed(size_t bytes)
{
	void *memory = calloc(1, bytes);

	__asm__ volatile("" : : "r"(memory) : "memory");
	return memory;
}

static void run_allocations(long count, const char *argument)
{
	char *end;
	size_t bytes = strtoul(argument, &end, 0);
	size_t grown = *end == ':' ? strtoul(end + 1, NULL, 0) : bytes * 2;

	for (long i = 0; i < count; i++) {
		void *kept = allocate_kept(bytes);

		free(allocate_freed(bytes));
		if (i % 4 == 0)
			grow_kept(kept, grown);
	}
}

/* threads T N: T threads, named worker-0 and so on, of which each makes N getppid system calls. */
struct worker {
	pthread_t thread;
	long index;
	long count;
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	char name[16];

	snprintf(name, sizeof(name), "worker-%ld", worker->index);
	pthread_setname_np(pthread_self(), name);
	run_getppid(worker->count, NULL);
	return NULL;
}

/* hits T N: T threads, of which each calls hit N times, with numbers from 0 to 15. */
TRACED void hit(long number)
{
	__asm__ volatile("" : : "r"(number));
}

static void *make_hits(void *argument)
{
	long count = *(long *)argument;

	for (long i = 0; i < count; i++)
		hit(i % 16);
	return NULL;
}

static void run_hits(long threads, const char *argument)
{
	long count = strtol(argument, NULL, 0);
	pthread_t started[64];

	if (threads > 64)
		fail("threads");
	for (long i = 0; i < threads; i++) {
		if (pthread_create(&started[i], NULL, make_hits, &count) != 0)
			fail("pthread_create");
	}
	for (long i = 0; i < threads; i++)
		pthread_join(started[i], NULL);
}

/* contended N PATH: four threads of which each writes N times 64 KiB to one new file, whose lock they wait for. */
static int contended_file;

static void *write_contended(void *argument)
{
	static char bytes[65536];

	for (long i = 0; i < *(long *)argument; i++) {
		if (pwrite(contended_file, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
			fail("pwrite");
	}
	return NULL;
}

static void run_contended(long count, const char *path)
{
	pthread_t threads[4];

	contended_file = open(path, O_RDWR | O_CREAT, 0600);
	if (contended_file < 0)
		fail(path);
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&threads[i], NULL, write_contended, &count) != 0)
			fail("pthread_create");
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	unlink(path);
}

static void run_threads(long threads, const char *argument)
{
	struct worker *workers = calloc(threads, sizeof(*workers));

	for (long i = 0; i < threads; i++) {
		workers[i].index = i;
		workers[i].count = strtol(argument, NULL, 0);
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			fail("thread");
	}
	for (long i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
}

static void send_to_self(struct sockaddr *address, socklen_t length, long count)
{
	int connection = socket(address->sa_family, SOCK_DGRAM, 0);
	char buffer[8] = { 0 };

	if (connection < 0 || bind(connection, address, length) < 0 || getsockname(connection, address, &length) < 0)
		fail("socket");
	for (long i = 0; i < count; i++) {
		if (sendto(connection, buffer, 8, 0, address, length) != 8)
			fail("sendto");
		if (recvfrom(connection, buffer, 8, 0, NULL, NULL) != 8)
			fail("recvfrom");
	}
}

/* udp N: N datagrams of 8 bytes over loopback to itself, each received before the next is sent. */
static void run_udp(long count, const char *unused)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	(void)unused;
	send_to_self((struct sockaddr *)&address, sizeof(address), count);
}

/* udp6 N: the same by version 6 of the protocol. */
static void run_udp6(long count, const char *unused)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	(void)unused;
	send_to_self((struct sockaddr *)&address, sizeof(address), count);
}

/* yields N: N times sched_yield. */
static void run_yields(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		syscall(SYS_sched_yield);
}

static void connect_to(struct sockaddr *address, socklen_t length, long count)
{
	int listener = socket(address->sa_family, SOCK_STREAM, 0);
	char buffer[8] = { 0 };
	int client;

	if (listener < 0 || bind(listener, address, length) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, address, &length) < 0)
		fail("socket");
	for (long i = 0; i < count; i++) {
		int server;

		client = socket(address->sa_family, SOCK_STREAM, 0);
		if (connect(client, address, length) < 0)
			fail("connect");
		server = accept(listener, NULL, NULL);
		if (server < 0 || write(client, buffer, 8) != 8 || read(server, buffer, 8) != 8)
			fail("accept");
		close(client);
		close(server);
	}
	close(listener);
	client = socket(address->sa_family, SOCK_STREAM, 0);
	if (connect(client, address, length) == 0)
		fail("a closed port takes connections");
	close(client);
}

/* connects N: N connections over loopback to itself, each of which carries 8 bytes; then one to a port that is closed. */
static void run_connects(long count, const char *unused)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	(void)unused;
	connect_to((struct sockaddr *)&address, sizeof(address), count);
}

/* connects6 N: the same by version 6 of the protocol. */
static void run_connects6(long count, const char *unused)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	(void)unused;
	connect_to((struct sockaddr *)&address, sizeof(address), count);
}

/*
 * unanswered N: N connections to port 4711 of this machine that nobody takes: the listener's queue is full with the first, so that
 * the others say their first word again after a second. It gives up half a second later.
 */
static void run_unanswered(long count, const char *unused)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(4711), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timespec wait = { 1, 500000000 };
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	(void)unused;
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 0) < 0)
		fail("listen");
	for (long i = 0; i <= count; i++) {
		int client = socket(AF_INET, SOCK_STREAM | (i > 0 ? SOCK_NONBLOCK : 0), 0);

		if (connect(client, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
			fail("connect");
	}
	nanosleep(&wait, NULL);
}

/* names N: N times getaddrinfo of 127.0.0.1. A static program has no C library to look at. */
static void run_names(long count, const char *unused)
{
	(void)count;
	(void)unused;
#ifndef IS_STATIC
	for (long i = 0; i < count; i++) {
		char name[] = "127.0.0.1";
		struct addrinfo *found;

		if (getaddrinfo(name, NULL, NULL, &found) != 0)
			fail("getaddrinfo");
		freeaddrinfo(found);
	}
#else
	errno = ENOSYS;
	fail("names of a static program");
#endif
}

/* disk N PATH: N reads of 16 KiB from the block device PATH, past the page cache. */
static void run_disk(long count, const char *path)
{
	const size_t bytes = 16384;
	int file = open(path, O_RDONLY | O_DIRECT);
	void *buffer;

	if (file < 0 || posix_memalign(&buffer, 4096, bytes) != 0)
		fail(path);
	for (long i = 0; i < count; i++) {
		if (pread(file, buffer, bytes, i * bytes) != (ssize_t)bytes)
			fail("pread");
	}
	close(file);
}

/*
 * files N: N times fcntl() of each of the descriptors 90 to 97, whose third argument is the number of the inode: a directory of
 * /proc, a file that is deleted, of which 5 bytes are written, a pipe, a socket, memory with a name, an event counter, /dev/null,
 * and one that is closed.
 */
static void run_files(long count, const char *unused)
{
	char path[64];
	int ends[2];
	struct stat about;

	(void)unused;
	snprintf(path, sizeof(path), "/tmp/workload-%d", getpid());
	dup2(open("/proc/sys/kernel", O_RDONLY | O_DIRECTORY), 90);
	dup2(open(path, O_RDWR | O_CREAT | O_APPEND, 0600), 91);
	unlink(path);
	if (write(91, "bytes", 5) != 5 || pipe(ends) != 0)
		fail("files");
	dup2(ends[0], 92);
	dup2(socket(AF_INET, SOCK_DGRAM, 0), 93);
	dup2((int)syscall(SYS_memfd_create, "notes", 0), 94);
	dup2((int)syscall(SYS_eventfd2, 0, 0), 95);
	dup2(open("/dev/null", O_WRONLY), 96);
	for (long i = 0; i < count; i++)
		for (int file = 90; file < 98; file++) {
			about.st_ino = 0;
			fstat(file, &about);
			syscall(SYS_fcntl, file, F_GETFD, about.st_ino);
		}
}

/* cached N PATH: reads N pages of a file of its own, PATH, which is there and in no cache before it says that it waits. */
static int cached_file;

static void prepare_cached(long count, const char *path)
{
	char bytes[4096] = { 1 };

	cached_file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (cached_file < 0)
		fail(path);
	unlink(path);
	for (long i = 0; i < count; i++) {
		if (write(cached_file, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
			fail("write");
	}
	if (fsync(cached_file) != 0 || posix_fadvise(cached_file, 0, 0, POSIX_FADV_DONTNEED) != 0 ||
	    posix_fadvise(cached_file, 0, 0, POSIX_FADV_RANDOM) != 0)
		fail("fadvise");
}

static void run_cached(long count, const char *unused)
{
	char bytes[4096];

	(void)unused;
	for (long i = 0; i < count; i++) {
		if (pread(cached_file, bytes, sizeof(bytes), i * sizeof(bytes)) != (ssize_t)sizeof(bytes))
			fail("pread");
	}
}

/*
 * greedy N: N children, one after the other, each in a cgroup of its own that may have 16 MiB, take memory until they are killed.
 * For guests: mounts a tree of cgroups at a directory below /tmp.
 */
static void write_to(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	if (file < 0 || write(file, text, strlen(text)) != (ssize_t)strlen(text))
		fail(path);
	close(file);
}

static void run_greedy(long count, const char *unused)
{
	const size_t bytes = 64 << 20;

	(void)unused;
	mkdir("/tmp/cgroups", 0700);
	if (mount("none", "/tmp/cgroups", "cgroup2", 0, NULL) != 0)
		fail("mount");
	write_to("/tmp/cgroups/cgroup.subtree_control", "+memory");
	if (mkdir("/tmp/cgroups/greedy", 0700) != 0)
		fail("mkdir");
	write_to("/tmp/cgroups/greedy/memory.max", "16M");
	for (long i = 0; i < count; i++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			write_to("/tmp/cgroups/greedy/cgroup.procs", "0");
			memset(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, bytes);
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			fail("the child was not killed");
	}
	rmdir("/tmp/cgroups/greedy");
	umount("/tmp/cgroups");
}

/* faults N: touches N pages for the first time. */
static void run_faults(long count, const char *unused)
{
	long page = sysconf(_SC_PAGESIZE);
	volatile char *memory = mmap(NULL, count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)unused;
	if (memory == MAP_FAILED)
		fail("mmap");
	/* Huge pages would take the faults of 512 pages at once. */
	madvise((void *)memory, count * page, MADV_NOHUGEPAGE);
	for (long i = 0; i < count; i++)
		memory[i * page] = 1;
}

/* cold N: opens N times a file whose name is in memory that nobody has touched: "ELF" and more, of the program itself. */
static void run_cold(long count, const char *unused)
{
	long page = sysconf(_SC_PAGESIZE);
	int program = open("/proc/self/exe", O_RDONLY);

	(void)unused;
	for (long i = 0; i < count; i++) {
		char *memory = mmap(NULL, page, PROT_READ, MAP_PRIVATE, program, 0);

		if (memory == MAP_FAILED)
			fail("mmap");
		if (open(memory + 1, O_RDONLY) >= 0)
			fail("open");
		munmap(memory, page);
	}
	close(program);
}

/* signals N: sends itself SIGUSR1 N times, and handles each. */
TRACED void signal_handler(int number)
{
	__asm__ volatile("" : : "r"(number));
}

static void run_signals(long count, const char *unused)
{
	(void)unused;
	signal(SIGUSR1, signal_handler);
	for (long i = 0; i < count; i++)
		kill(getpid(), SIGUSR1);
}

/*
 * crowd THREADS FILES: has, before it says that it waits, THREADS threads beside its first, which do nothing, and its
 * own program opened FILES times.
 */
static void *idle(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void prepare_crowd(long threads, const char *files)
{
	long count = strtol(files, NULL, 0);
	pthread_t thread;

	for (long i = 0; i < threads; i++) {
		if (pthread_create(&thread, NULL, idle, NULL) != 0)
			fail("pthread_create");
	}
	for (long i = 0; i < count; i++) {
		if (open("/proc/self/exe", O_RDONLY | O_CLOEXEC) < 0)
			fail("open");
	}
}

static void run_crowd(long count, const char *unused)
{
	(void)count;
	(void)unused;
}

/*
 * family N: six processes, each of which calls family_call N times, which makes a getppid call and stores to 0x10000000, and
 * burns CPU for 150 ms. A child and its own child are there before it says that it waits; the first of them then has
 * another one, and the process itself has one whose own child outlives it.
 */
static int family_gate[2], family_ends[2];

TRACED void family_call(long number)
{
	*(volatile long *)0x10000000 = number;
	syscall(SYS_getppid);
}

static void be_of_the_family(long count)
{
	for (long i = 0; i < count; i++)
		family_call(i);
	run_spin(150, NULL);
}

static void prepare_family(long count)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	char byte;

	if (mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
		fail("mmap");
	if (pipe(family_gate) != 0 || pipe(family_ends) != 0)
		fail("pipe");
	if (fork() != 0)
		return;
	int is_first = fork() != 0;

	close(family_gate[1]);
	if (read(family_gate[0], &byte, 1) != 0)
		fail("read");
	if (is_first)
		fork();
	be_of_the_family(count);
	_exit(0);
}

static void run_family(long count, const char *unused)
{
	char byte;

	(void)unused;
	close(family_gate[1]);
	be_of_the_family(count);
	if (fork() == 0) {
		if (fork() == 0)
			usleep(20000);
		be_of_the_family(count);
		_exit(0);
	}
	close(family_ends[1]);
	/* The end of the file, when all others have exited. */
	if (read(family_ends[0], &byte, 1) != 0)
		fail("read");
}

/*
 * stores N: at the fixed address 0x10000000 it stores a word N times and loads it N times, and stores N times to the word
 * behind; the function at 0x10001000, which does nothing, runs N times. Half a second later another thread does the same.
 */
#define STORES_AT 0x10000000UL
#define STORES_BYTES 0x2000UL
#define RETURN_INSTRUCTION 0xc3

static void *store(void *argument)
{
	volatile long *words = (volatile long *)STORES_AT;
	void (*function)(void) = (void (*)(void))(STORES_AT + STORES_BYTES / 2);
	long count = *(long *)argument;

	for (long i = 0; i < count; i++) {
		words[0] = i;
		(void)words[0];
		words[1] = i;
		function();
	}
	return NULL;
}

static void run_stores(long count, const char *unused)
{
	pthread_t thread;
	void *place = mmap((void *)STORES_AT, STORES_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	(void)unused;
	if (place == MAP_FAILED)
		fail("mmap");
	*((unsigned char *)place + STORES_BYTES / 2) = RETURN_INSTRUCTION;
	store(&count);
	usleep(500000);
	if (pthread_create(&thread, NULL, store, &count) != 0)
		fail("thread");
	pthread_join(thread, NULL);
}

/* tells N: sends its parent, which is the tracer that runs it as a command, SIGUSR1 and then SIGUSR2, N times 20 ms apart. */
static void run_tells(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++) {
		kill(getppid(), SIGUSR1);
		kill(getppid(), SIGUSR2);
		usleep(20000);
	}
}

/*
 * usdt N: N times the statically defined probes workload:tick(int number, char *name), and workload:gated(long
 * number), which fires only while its semaphore says that somebody looks. The notes are as <sys/sdt.h> writes them;
 * that header is not on every machine.
 */
#define PROBE_NOTE(name, semaphore, arguments)                                                                         \
	"990: nop\n"                                                                                                   \
	".pushsection .note.stapsdt,\"\",\"note\"\n"                                                                   \
	".balign 4\n"                                                                                                  \
	".4byte 992f-991f, 994f-993f, 3\n"                                                                             \
	"991: .asciz \"stapsdt\"\n"                                                                                    \
	"992: .balign 4\n"                                                                                             \
	"993: .8byte 990b\n"                                                                                           \
	".8byte _.stapsdt.base\n"                                                                                      \
	".8byte " semaphore "\n"                                                                                       \
	".asciz \"workload\"\n"                                                                                        \
	".asciz \"" name "\"\n"                                                                                        \
	".asciz \"" arguments "\"\n"                                                                                   \
	"994: .balign 4\n"                                                                                             \
	".popsection\n"                                                                                                \
	".ifndef _.stapsdt.base\n"                                                                                     \
	".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                                        \
	".weak _.stapsdt.base\n"                                                                                       \
	".hidden _.stapsdt.base\n"                                                                                     \
	"_.stapsdt.base: .space 1\n"                                                                                   \
	".size _.stapsdt.base, 1\n"                                                                                    \
	".popsection\n"                                                                                                \
	".endif\n"

__attribute__((section(".probes"), used)) volatile unsigned short workload_gated_semaphore;

TRACED void fire_probes(int number, const char *name)
{
	long wide = number;

	__asm__ volatile(PROBE_NOTE("tick", "0", "-4@%k[number] 8@%[name]") : : [number] "r"(number), [name] "r"(name));
	if (workload_gated_semaphore)
		__asm__ volatile(PROBE_NOTE("gated", "workload_gated_semaphore", "-8@%[wide]") : : [wide] "r"(wide));
}

static void run_usdt(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		fire_probes(i, names[i % 3]);
}

/*
 * operands N: N times workload:operands, whose arguments are in all kinds of places, and workload:twice(int) at two
 * places that have theirs in different ones: i and 1000 + i.
 */
volatile int workload_level;
volatile short workload_steps[4] = { 10, -20, 30, -40 };

TRACED void fire_operands(long number, const long *table, const int *other)
{
	long mixed = 0x12340000 | (200 + number) << 8 | (unsigned char)-number;

	__asm__ volatile(PROBE_NOTE("operands", "0",
				    "-1@%%al 1@%%ah -2@%%ax 4@$4000000000 -4@$-7 -8@(%[table],%[index],8) 8@8(%[table]) "
				    "-4@workload_level(%%rip) -2@2+workload_steps(%%rip) 4f@%%xmm0 -4@%k[index]")
			 :
			 : "a"(mixed), [table] "r"(table), [index] "r"(number)
			 : "memory");
	__asm__ volatile(PROBE_NOTE("twice", "0", "-4@%k[number]") : : [number] "r"(number));
	__asm__ volatile(PROBE_NOTE("twice", "0", "-4@(%[other])") : : [other] "r"(other) : "memory");
}

static void run_operands(long count, const char *unused)
{
	static long table[64];

	(void)unused;
	for (long i = 0; i < count; i++) {
		int other = 1000 + i;

		table[i % 64] = -i * 1000000000000;
		workload_level = -5 - i;
		fire_operands(i, table, &other);
	}
}

/* Two functions that nobody calls, and whose first instruction the kernel lets nobody probe. */
__asm__(".text\n"
	".type unprobed_first, @function\nunprobed_first:\n\thlt\n\tret\n.size unprobed_first, .-unprobed_first\n"
	".type unprobed_second, @function\nunprobed_second:\n\thlt\n\tret\n.size unprobed_second, .-unprobed_second\n");

/*
 * mangled N: N times functions with names as compilers of C++ and Rust write them: shape::area(int),
 * shape::area(char const*), shape::width() and circle::radius.
 */
TRACED long area_of_number(int number) __asm__("_ZN5shape4areaEi");
TRACED long area_of_name(const char *name) __asm__("_ZN5shape4areaEPKc");
TRACED long width(void) __asm__("_ZN5shape5widthEv");
TRACED long radius(long number) __asm__("_RNvC6circle6radius");

long area_of_number(int number)
{
	return number * 2;
}

long area_of_name(const char *name)
{
	return name[0];
}

long width(void)
{
	return 3;
}

long radius(long number)
{
	if (number % 2)
		return -number;
	__asm__ volatile("");
	return number * 10;
}

static void run_mangled(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++) {
		area_of_number(i);
		area_of_name(names[i % 3]);
		width();
		radius(i);
	}
}

/* maps N: N mappings of 64 KiB without a file. */
static void run_maps(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		if (syscall(SYS_mmap, NULL, 65536L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L) == -1)
			fail("mmap");
}

/* stats N PATH: asks N times (newfstatat) about a file, which need not be there. */
static void run_stats(long count, const char *path)
{
	struct stat file;

	for (long i = 0; i < count; i++)
		syscall(SYS_newfstatat, AT_FDCWD, path, &file, 0);
}

/* waits N: waits N times a millisecond for a futex that nobody wakes. */
static void run_waits(long count, const char *unused)
{
	static int word;
	struct timespec millisecond = { .tv_nsec = 1000000 };

	(void)unused;
	for (long i = 0; i < count; i++)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &millisecond, NULL, 0);
}

/* priorities N: raises its own priority N times by one, up to 19, each of which takes a capability. */
static void run_priorities(long count, const char *unused)
{
	(void)unused;
	for (long i = 1; i <= count; i++)
		if (setpriority(PRIO_PROCESS, 0, (int)-i) != 0)
			fail("setpriority");
}

/* lines N: N times sum_of_lines(3), which is at the end of this file, in lines with numbers of their own. */
TRACED long sum_of_lines(long count);

static void run_lines(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		sum_of_lines(3);
}

/* A function of three names. */
TRACED long alias_chosen(long i)
{
	__asm__ volatile("" : "+r"(i));
	return i ^ 1;
}
long _alias_chosen(long) __attribute__((alias("alias_chosen")));
long alias_chosen_as_well(long) __attribute__((alias("alias_chosen")));

/* aliases N: N calls of a function by one of its names. */
static void run_aliases(long count, const char *unused)
{
	(void)unused;
	for (long i = 0; i < count; i++)
		_alias_chosen(i);
}

static void run_true(long count, const char *unused)
{
	(void)count;
	(void)unused;
}

struct subcommand {
	const char *name;
	void (*run)(long, const char *);
	int arguments;
	const char *usage;
};

static const struct subcommand subcommands[] = {
	{ "getppid", run_getppid, 1, "N" },
	{ "calls", run_calls, 1, "N" },
	{ "chain", run_chain, 1, "N" },
	{ "inlined", run_inlined, 1, "N" },
	{ "recursion", run_recursion, 1, "DEPTH" },
	{ "branches", run_branches, 1, "N" },
	{ "records", run_records, 1, "N" },
	{ "typed", run_typed, 1, "N" },
	{ "reads", run_reads, 2, "N SIZE" },
	{ "writes", run_writes, 2, "N SIZE" },
	{ "opens", run_opens, 2, "N PATH" },
	{ "forks", run_forks, 1, "N" },
	{ "ends", run_ends, 1, "N" },
	{ "execs", run_execs, 1, "N" },
	{ "sleeps", run_sleeps, 2, "N MICROSECONDS" },
	{ "spin", run_spin, 1, "MILLISECONDS" },
	{ "nested", run_nested, 1, "N" },
	{ "nested_spin", run_nested_spin, 1, "MILLISECONDS" },
	{ "burn", run_burn, 1, "MILLISECONDS" },
	{ "naps", run_naps, 2, "N MICROSECONDS" },
	{ "allocations", run_allocations, 2, "N BYTES[:GROWN]" },
	{ "wakes", run_wakes, 1, "N" },
	{ "rounds", run_rounds, 1, "N" },
	{ "contended", run_contended, 2, "N PATH" },
	{ "hits", run_hits, 2, "THREADS N" },
	{ "threads", run_threads, 2, "THREADS N" },
	{ "udp", run_udp, 1, "N" },
	{ "udp6", run_udp6, 1, "N" },
	{ "yields", run_yields, 1, "N" },
	{ "faults", run_faults, 1, "N" },
	{ "cold", run_cold, 1, "N" },
	{ "signals", run_signals, 1, "N" },
	{ "crowd", run_crowd, 2, "THREADS FILES" },
	{ "family", run_family, 1, "N" },
	{ "stores", run_stores, 1, "N" },
	{ "unanswered", run_unanswered, 1, "N" },
	{ "names", run_names, 1, "N" },
	{ "files", run_files, 1, "N" },
	{ "disk", run_disk, 2, "N PATH" },
	{ "cached", run_cached, 2, "N PATH" },
	{ "greedy", run_greedy, 1, "N" },
	{ "connects", run_connects, 1, "N" },
	{ "connects6", run_connects6, 1, "N" },
	{ "tells", run_tells, 1, "N" },
	{ "usdt", run_usdt, 1, "N" },
	{ "operands", run_operands, 1, "N" },
	{ "mangled", run_mangled, 1, "N" },
	{ "lines", run_lines, 1, "N" },
	{ "maps", run_maps, 1, "N" },
	{ "stats", run_stats, 2, "N PATH" },
	{ "waits", run_waits, 1, "N" },
	{ "priorities", run_priorities, 1, "N" },
	{ "aliases", run_aliases, 1, "N" },
	{ "true", run_true, 0, "" },
};

static int usage(void)
{
	fprintf(stderr, "usage: workload [--wait] NAME ARGUMENTS\n");
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
		fprintf(stderr, "    %s %s\n", subcommands[i].name, subcommands[i].usage);
	return 2;
}

int main(int argc, char **argv)
{
	int waits = argc > 1 && strcmp(argv[1], "--wait") == 0;
	int given = argc - 2 - waits;
	char line[32];

	for (size_t i = 0; given >= 0 && i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
		const struct subcommand *subcommand = &subcommands[i];
		char **arguments = argv + 2 + waits;

		if (strcmp(subcommand->name, argv[1 + waits]) != 0 || subcommand->arguments != given)
			continue;
		if (subcommand->run == run_crowd)
			prepare_crowd(strtol(arguments[0], NULL, 0), given > 1 ? arguments[1] : NULL);
		if (subcommand->run == run_cached)
			prepare_cached(strtol(arguments[0], NULL, 0), arguments[1]);
		if (subcommand->run == run_family)
			prepare_family(strtol(arguments[0], NULL, 0));
		if (waits) {
			snprintf(line, sizeof(line), "pid %d\n", getpid());
			print_line(line);
			wait_for_line();
		}
		subcommand->run(given > 0 ? strtol(arguments[0], NULL, 0) : 0, given > 1 ? arguments[1] : NULL);
		if (waits) {
			print_line("done\n");
			wait_for_line();
		}
		return 0;
	}
	return usage();
}

#line 1 "lines.c"
TRACED long sum_of_lines(long count)
{
	long sum = 0;

	for (long i = 0; i < count; i++)
		sum += inner_function(i);
	return sum;
}
