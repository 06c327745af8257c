// An emulated path between two network namespaces: one TUN device in each, joined by this process, which delays packets,
// limits the rate, bounds the queue and drops at random. For kernels without netem.
//
//   path NAMESPACE_A NAMESPACE_B DEVICE       (needs root, /dev/net/tun and namespaces made by `ip netns add`)
//
// Each line on standard input sets what follows from then on, the same in both directions; "ready" is printed once both
// devices are there, "ok" after each line. The path ends with its standard input.
//
//   rate BITS_PER_S   0: no limit          delay MICROSECONDS   one way
//   queue BYTES       ahead of the rate    loss PARTS_PER_MILLION
//   dark 0|1          1: everything is lost
//   seed NUMBER       of the random drops
//   stats             prints "stats QUEUE_DROPS RANDOM_DROPS PACKETS MOST_QUEUED_BYTES MOST_LATE_US", both directions in sum, and
//                   resets it; late packets waited for the processor: a sign of a machine that is too busy

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 16, PACKET_BYTES = 1536, PACKETS_A_TURN = 64 };

typedef struct {
  int64_t due_ns; // in `line`: when it arrives; in `queue`: when it came
  uint32_t length;
  uint8_t bytes[PACKET_BYTES];
} Packet;

// A ring that packets are taken from in the order they came.
typedef struct {
  Packet *slots;
  uint32_t head, tail;
} Ring;

typedef struct {
  int from, to;
  Ring queue; // wait for the rate
  Ring line;  // on their way
  int64_t queued_bytes, free_at_ns, last_due_ns;
} Direction;

static int64_t rate_bps, delay_ns, queue_limit = 1 << 20, loss_ppm;
static int dark;
static uint64_t random_state = 0x9e3779b97f4a7c15u;
static uint64_t queue_drops, random_drops, packets, most_queued;
static int64_t most_late_ns;

static void fail(const char *what) {
  fprintf(stderr, "path: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// xorshift64*
static uint32_t random_below(uint32_t limit) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 33) % limit;
}

static int open_tun(const char *name_space, const char *device) {
  char path[256];
  snprintf(path, sizeof path, "/var/run/netns/%s", name_space);
  int space = open(path, O_RDONLY | O_CLOEXEC);
  if (space < 0 || setns(space, CLONE_NEWNET) < 0) fail(path);
  close(space);
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tun < 0) fail("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  if (ioctl(tun, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  return tun;
}

static Ring make_ring(void) {
  Ring ring = {0};
  ring.slots = mmap(NULL, sizeof(Packet) * SLOTS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (ring.slots == MAP_FAILED) fail("mmap");
  return ring;
}

static int is_empty(const Ring *ring) { return ring->head == ring->tail; }
static int is_full(const Ring *ring) { return ring->tail - ring->head == SLOTS; }
static Packet *first(Ring *ring) { return &ring->slots[ring->head % SLOTS]; }
static Packet *behind_last(Ring *ring) { return &ring->slots[ring->tail % SLOTS]; }

static void read_packets(Direction *way, int64_t now) {
  for (int i = 0; i < PACKETS_A_TURN; i++) {
    Packet *packet = behind_last(&way->queue);
    if (is_full(&way->queue)) return;
    ssize_t length = read(way->from, packet->bytes, PACKET_BYTES);
    if (length <= 0) return;
    packets++;
    packet->length = (uint32_t)length;
    packet->due_ns = now;
    if (dark || (loss_ppm > 0 && random_below(1000000) < loss_ppm)) {
      random_drops++;
    } else if (way->queued_bytes + length > queue_limit) {
      queue_drops++;
    } else {
      way->queued_bytes += length;
      if ((uint64_t)way->queued_bytes > most_queued) most_queued = (uint64_t)way->queued_bytes;
      way->queue.tail++;
    }
  }
}

// What the rate has let pass by now goes on its way.
static void transmit(Direction *way, int64_t now) {
  while (!is_empty(&way->queue) && !is_full(&way->line)) {
    Packet *packet = first(&way->queue);
    int64_t start = way->free_at_ns > packet->due_ns ? way->free_at_ns : packet->due_ns;
    if (start > now) return;
    int64_t took = rate_bps > 0 ? (int64_t)packet->length * 8 * 1000000000LL / rate_bps : 0;
    way->free_at_ns = start + took;
    int64_t due = way->free_at_ns + delay_ns;
    if (due < way->last_due_ns) due = way->last_due_ns;
    way->last_due_ns = due;
    Packet *onward = behind_last(&way->line);
    memcpy(onward->bytes, packet->bytes, packet->length);
    onward->length = packet->length;
    onward->due_ns = due;
    way->line.tail++;
    way->queued_bytes -= packet->length;
    way->queue.head++;
  }
}

static void deliver(Direction *way, int64_t now) {
  while (!is_empty(&way->line) && first(&way->line)->due_ns <= now) {
    Packet *packet = first(&way->line);
    int64_t late = now - first(&way->line)->due_ns;
    if (late > most_late_ns) most_late_ns = late;
    if (dark) random_drops++;
    else if (write(way->to, packet->bytes, packet->length) < 0 && errno == EAGAIN) return;
    way->line.head++;
  }
}

static int64_t next_ns(Direction *way) {
  int64_t next = INT64_MAX;
  if (!is_empty(&way->line)) next = first(&way->line)->due_ns;
  if (!is_empty(&way->queue) && way->free_at_ns < next) next = way->free_at_ns;
  return next;
}

static void obey(char *line) {
  char word[32];
  long long value = 0;
  if (sscanf(line, "%31s %lld", word, &value) < 1) return;
  if (!strcmp(word, "rate")) rate_bps = value;
  else if (!strcmp(word, "delay")) delay_ns = value * 1000;
  else if (!strcmp(word, "queue")) queue_limit = value;
  else if (!strcmp(word, "loss")) loss_ppm = value;
  else if (!strcmp(word, "dark")) dark = value != 0;
  else if (!strcmp(word, "seed")) random_state = (uint64_t)value * 0x9e3779b97f4a7c15u + 1;
  else if (!strcmp(word, "stats")) {
    printf("stats %llu %llu %llu %llu %lld\n", (unsigned long long)queue_drops, (unsigned long long)random_drops,
           (unsigned long long)packets, (unsigned long long)most_queued, (long long)most_late_ns / 1000);
    queue_drops = random_drops = packets = most_queued = 0;
    most_late_ns = 0;
  } else {
    printf("unknown %s\n", word);
    fflush(stdout);
    return;
  }
  printf("ok\n");
  fflush(stdout);
}

static void read_commands(void) {
  static char text[1024];
  static size_t used;
  ssize_t length = read(STDIN_FILENO, text + used, sizeof text - 1 - used);
  if (length <= 0) exit(0);
  used += (size_t)length;
  text[used] = 0;
  char *end, *start = text;
  for (; (end = strchr(start, '\n')) != NULL; start = end + 1) {
    *end = 0;
    obey(start);
  }
  used -= (size_t)(start - text);
  if (used == sizeof text - 1) used = 0;
  memmove(text, start, used);
}

int main(int count, char **values) {
  if (count != 4) {
    fprintf(stderr, "usage: path NAMESPACE_A NAMESPACE_B DEVICE\n");
    return 2;
  }
  int a = open_tun(values[1], values[3]), b = open_tun(values[2], values[3]);
  Direction ways[2] = {{.from = a, .to = b, .queue = make_ring(), .line = make_ring()},
                       {.from = b, .to = a, .queue = make_ring(), .line = make_ring()}};
  // Waits end within a few microseconds of their time, not within the usual fifty. And a path is no slower when the programs at
  // its ends take all processors: where the kernel allows it, this process goes first.
  prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
  // A real path does not wait for the processor that its ends keep busy. Without the right to it, it may be late.
  struct sched_param priority = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO, &priority);
  struct sched_param first_in_line = {.sched_priority = 10};
  if (sched_setscheduler(0, SCHED_FIFO, &first_in_line) < 0) perror("path: without priority");
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    int64_t now = now_ns(), next = INT64_MAX;
    for (int i = 0; i < 2; i++) {
      transmit(&ways[i], now);
      deliver(&ways[i], now);
      int64_t due = next_ns(&ways[i]);
      if (due < next) next = due;
    }
    int64_t wait = next == INT64_MAX ? 1000000000LL : next > now ? next - now : 0;
    struct timespec timeout = {wait / 1000000000LL, wait % 1000000000LL};
    struct pollfd polled[3] = {{a, POLLIN, 0}, {b, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (ppoll(polled, 3, &timeout, NULL) < 0 && errno != EINTR) fail("ppoll");
    now = now_ns();
    for (int i = 0; i < 2; i++)
      if (polled[i].revents & POLLIN) read_packets(&ways[i], now);
    if (polled[2].revents & (POLLIN | POLLHUP)) read_commands();
  }
}
