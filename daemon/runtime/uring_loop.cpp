#include "daemon/runtime/uring_loop.h"

#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <mutex>

#include "daemon/runtime/look_out.h"
#include "daemon/runtime/timer_heap.h"

namespace canopy {
namespace {

Nanos clock_ns(clockid_t clock) {
  timespec at;
  clock_gettime(clock, &at);
  return static_cast<Nanos>(at.tv_sec) * kSecond + at.tv_nsec;
}

// A request starts in the first round, and what it sends goes out in the next one, before the kernel is
// entered.
constexpr int kRoundsPerTurn = 3;
constexpr size_t kPostedPerTurnMax = 1024;  // what other threads post must not starve the sockets

std::unexpected<Error> setup_error(int error_number) {
  std::string_view advice;
  switch (error_number) {
    case ENOSYS: advice = "this kernel has no io_uring; Canopy needs Linux 6.1 or newer"; break;
    case EPERM:
    case EACCES:
      advice =
          "io_uring is blocked here; set sysctl kernel.io_uring_disabled=0, and in a container allow the "
          "system calls "
          "io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile";
      break;
    case ENOMEM: advice = "not enough lockable memory; raise LimitMEMLOCK (ulimit -l)"; break;
    case EMFILE:
    case ENFILE: advice = "too many open files; raise LimitNOFILE (ulimit -n)"; break;
    default: return fail_errno(error_number, "io_uring", "io_uring_setup");
  }
  bool missing = error_number == ENOSYS || error_number == EPERM || error_number == EACCES;
  return fail(missing ? Code::kUnsupported : Code::kTryAgain, "io_uring",
              fmt::format("io_uring_setup: {}: {}", strerror(error_number), advice));
}

int scarce_descriptors_begin() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX) return INT32_MAX;
  return static_cast<int>(limit.rlim_cur / 4 * 3);
}

// A loop's thread does a little for each request and yields while it looks for the next one. With the
// scheduler's slice of some milliseconds each yield lets others go first for as long (Linux 6.12; before that
// nothing changes).
void ask_for_short_slices() {
  constexpr Nanos kSlice = 100 * kMicrosecond;
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes{};  // sched_attr, which glibc does not declare
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.size = sizeof attributes;
  attributes.runtime = kSlice;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

struct UringLoop::State {
  io_uring ring{};
  bool ring_made = false;
  bool enabled = false;
  pid_t thread = 0;                     // of the first run()
  std::atomic<pthread_t> running_on{};  // while run() is under way
  UringOptions options;

  TimerHeap timers;
  std::vector<std::coroutine_handle<>> ready, ready_now;
  std::unordered_map<Completion*, std::shared_ptr<void>> kept;
  std::vector<io_uring_cqe> stashed;  // taken out of a full ring while entries were being submitted

  // post(): the poster wakes the loop only when it sleeps or is about to.
  std::mutex posted_mutex;
  std::vector<std::move_only_function<void()>> posted;  // under posted_mutex
  std::deque<std::move_only_function<void()>> posted_now;
  std::atomic<bool> has_posted{false};
  std::atomic<bool> asleep{false};
  std::atomic<bool> stopping{false};
  int wake_fd = -1;
  uint64_t wake_value = 0;
  struct Wake : Completion {
    State* state;
  } wake;
  bool wake_armed = false;
  LookOut look_out;

  // One of each slot of the ring's table that was ever used; its completion is that of leaving it.
  struct Slot : Completion {
    State* state;
    int number;
  };
  std::deque<Slot> slots;
  std::vector<int> free_slots;
  uint32_t table_slots = 0;  // 0: not registered yet

  std::array<uint64_t, 32> random_words{};
  size_t random_left = 0;

  ~State() {
    if (ring_made) io_uring_queue_exit(&ring);
    if (wake_fd >= 0) close(wake_fd);
  }

  Result<void> setup();
  void begin_run();
  void end_run();
  void turn();
  int enter(unsigned wait, Nanos timeout);
  bool something_came() const;
  bool comes_at_once(Nanos now);
  void make_room(uint32_t count);
  void reap();
  void deliver(const io_uring_cqe& cqe);
  void run_posted();
  void fire_timers();
  void run_ready();
  void arm_wake();
  void wake_up();
  bool about_to_sleep();
  io_uring_sqe* next_entry();
  bool make_table();
  Slot* free_slot();
};

Result<void> UringLoop::State::setup() {
  // R_DISABLED: the thread that enables the ring becomes its only submitter, and that is run()'s thread.
  constexpr unsigned kCommon = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  constexpr unsigned kWays[] = {
      kCommon | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
          IORING_SETUP_TASKRUN_FLAG,
      kCommon | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
      kCommon,
  };
  int answer = 0;
  for (unsigned flags : kWays) {
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = options.entries * 4;
    answer = io_uring_queue_init_params(options.entries, &ring, &params);
    if (answer != -EINVAL) break;
  }
  if (answer < 0) return setup_error(-answer);
  ring_made = true;
  if ((ring.features & IORING_FEAT_EXT_ARG) == 0 || (ring.features & IORING_FEAT_NODROP) == 0)
    return fail(Code::kUnsupported, "io_uring",
                "this kernel's io_uring is too old; Canopy needs Linux 6.1 or newer");
  // Entries are submitted in the order of their slots.
  if (ring.sq.array != nullptr)
    for (unsigned i = 0; i < ring.sq.ring_entries; ++i) ring.sq.array[i] = i;
  wake_fd = eventfd(0, EFD_CLOEXEC);
  if (wake_fd < 0) return fail_errno(errno, "eventfd", "eventfd");
  wake.state = this;
  wake.done = [](Completion* self, int32_t, uint32_t) {
    static_cast<Wake*>(self)->state->wake_armed = false;
  };
  return {};
}

Result<std::unique_ptr<UringLoop>> UringLoop::create(const UringOptions& options) {
  auto state = std::make_unique<State>();
  state->options = options;
  CANOPY_TRY(state->setup());
  return std::unique_ptr<UringLoop>(new UringLoop(std::move(state)));
}

UringLoop::UringLoop(std::unique_ptr<State> state) : state_(std::move(state)) {
  park_from_ = state_->options.park_from > 0 ? state_->options.park_from : scarce_descriptors_begin();
}
UringLoop::~UringLoop() { CANOPY_CHECK(state_->running_on.load() == pthread_t{}); }

void UringLoop::State::begin_run() {
  CANOPY_CHECK(running_on.load() == pthread_t{});
  if (!enabled) {
    thread = gettid();
    // liburing 2.3 declares io_uring_enable_rings but does not export it.
    long answer = syscall(__NR_io_uring_register, ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    CANOPY_CHECK(answer == 0);
    enabled = true;
    // Worker limits belong to the thread. Only the first number, the bounded (file) workers, changes.
    unsigned workers[2] = {options.file_workers, 0};
    io_uring_register_iowq_max_workers(&ring, workers);
    ask_for_short_slices();  // once: the loop's thread stays the same
  }
  CANOPY_CHECK(thread == gettid());
  // Spares the look-up of the descriptor in every system call. The registration belongs to the thread, so it
  // ends with run(): another thread that destroys the loop must not undo a registration of its own.
  io_uring_register_ring_fd(&ring);
  running_on.store(pthread_self());
}

void UringLoop::State::end_run() {
  running_on.store(pthread_t{});
  if (ring.enter_ring_fd != ring.ring_fd) io_uring_unregister_ring_fd(&ring);
}

void UringLoop::run() {
  State& s = *state_;
  s.begin_run();
  while (!s.stopping.load(std::memory_order_acquire)) s.turn();
  s.stopping.store(false);
  s.end_run();
}

void UringLoop::stop() {
  state_->stopping.store(true, std::memory_order_release);
  state_->wake_up();
}

void UringLoop::State::turn() {
  run_posted();
  fire_timers();
  for (int round = 0; round < kRoundsPerTurn && (round == 0 || !ready.empty()); ++round) run_ready();
  arm_wake();
  const bool idle = ready.empty() && stashed.empty() && posted_now.empty();
  if (idle && look_out.is_busy()) sched_yield();  // who waits for an answer may wait for this processor
  const Nanos begun = clock_ns(CLOCK_BOOTTIME);
  if (idle && look_out.wanted(begun) && comes_at_once(begun)) {
    enter(0, kNever);
  } else {
    const unsigned wait = about_to_sleep() ? 1 : 0;
    Nanos timeout = kNever;
    if (wait != 0 && !timers.empty()) timeout = std::max<Nanos>(0, timers.next() - clock_ns(CLOCK_BOOTTIME));
    enter(wait, timeout);
    asleep.store(false, std::memory_order_relaxed);
  }
  if (idle) look_out.came(clock_ns(CLOCK_BOOTTIME) - begun);
  reap();
}

bool UringLoop::State::something_came() const {
  constexpr unsigned kWork = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
  return io_uring_cq_ready(&ring) != 0 || (io_uring_smp_load_acquire(ring.sq.kflags) & kWork) != 0 ||
         has_posted.load(std::memory_order_relaxed) || stopping.load(std::memory_order_relaxed);
}

bool UringLoop::State::comes_at_once(Nanos now) {
  enter(0, kNever);
  const Nanos until = now + LookOut::kFor;
  const Nanos last = timers.empty() ? until : std::min(until, timers.next());
  while (!something_came()) {
    sched_yield();
    now = clock_ns(CLOCK_BOOTTIME);
    if (now < last) continue;
    if (last == until) look_out.nothing_seen(now);
    return false;
  }
  look_out.seen();
  return true;
}

bool UringLoop::State::about_to_sleep() {
  if (!ready.empty() || !stashed.empty() || !posted_now.empty()) return false;
  // Either the poster sees `asleep` and wakes us, or we see what it posted: both sides store first and look
  // second.
  asleep.store(true);
  if (!has_posted.load() && !stopping.load()) return true;
  asleep.store(false);
  return false;
}

void UringLoop::State::wake_up() {
  if (!asleep.exchange(false)) return;
  uint64_t one = 1;
  while (write(wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void UringLoop::State::arm_wake() {
  if (wake_armed) return;
  wake_armed = true;
  io_uring_sqe* sqe = next_entry();
  sqe->user_data = reinterpret_cast<uint64_t>(static_cast<Completion*>(&wake));
  io_uring_prep_read(sqe, wake_fd, &wake_value, sizeof wake_value, 0);
}

void UringLoop::State::run_posted() {
  if (has_posted.exchange(false)) {
    std::vector<std::move_only_function<void()>> taken;
    {
      std::lock_guard lock(posted_mutex);
      taken.swap(posted);
    }
    for (auto& work : taken) posted_now.push_back(std::move(work));
  }
  for (size_t i = 0; i < kPostedPerTurnMax && !posted_now.empty(); ++i) {
    auto work = std::move(posted_now.front());
    posted_now.pop_front();
    work();
  }
}

void UringLoop::State::fire_timers() {
  if (timers.empty()) return;
  Nanos now = clock_ns(CLOCK_BOOTTIME);
  uint64_t orders_end = timers.orders_given();
  while (TimerNode* timer = timers.pop_due(now, orders_end)) timer->fire(timer);
}

void UringLoop::State::run_ready() {
  // Only what is ready now: what these add waits for the next round, or until the sockets had their turn.
  ready_now.swap(ready);
  for (std::coroutine_handle<> handle : ready_now) handle.resume();
  ready_now.clear();
}

// One system call: submits what was prepared, lets the kernel finish what it deferred, and waits for `wait`
// completions at most `timeout`. (liburing's own call waits twice as long when it submits something and the
// time runs out.)
int UringLoop::State::enter(unsigned wait, Nanos timeout) {
  io_uring_smp_store_release(ring.sq.ktail, ring.sq.sqe_tail);
  ring.sq.sqe_head = ring.sq.sqe_tail;
  unsigned count = ring.sq.sqe_tail - io_uring_smp_load_acquire(ring.sq.khead);
  __kernel_timespec limit{.tv_sec = timeout / kSecond, .tv_nsec = timeout % kSecond};
  io_uring_getevents_arg arg{};
  arg.sigmask_sz = _NSIG / 8;
  if (timeout != kNever) arg.ts = reinterpret_cast<uint64_t>(&limit);
  unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  if (ring.enter_ring_fd != ring.ring_fd) flags |= IORING_ENTER_REGISTERED_RING;
  int answer = io_uring_enter2(static_cast<unsigned>(ring.enter_ring_fd), count, wait, flags,
                               reinterpret_cast<sigset_t*>(&arg), sizeof arg);
  // EBUSY, EAGAIN: the kernel is short of something; what was not taken is offered again in the next turn.
  bool expected =
      answer >= 0 || answer == -ETIME || answer == -EINTR || answer == -EBUSY || answer == -EAGAIN;
  if (!expected) std::fprintf(stderr, "io_uring_enter: %s\n", strerror(-answer));
  CANOPY_CHECK(expected);
  return answer;
}

void UringLoop::State::make_room(uint32_t count) {
  CANOPY_CHECK(count <= ring.sq.ring_entries);
  while (io_uring_sq_space_left(&ring) < count) {
    CANOPY_CHECK(enabled);  // before run() there is only what the queue holds
    enter(0, kNever);
    // The kernel takes nothing more while completions that found no room wait with it: take them out of the
    // ring.
    io_uring_cqe* cqe = nullptr;
    if (io_uring_sq_space_left(&ring) < count) {
      while (io_uring_cq_ready(&ring) > 0 && io_uring_peek_cqe(&ring, &cqe) == 0) {
        stashed.push_back(*cqe);
        io_uring_cqe_seen(&ring, cqe);
      }
    }
  }
}

io_uring_sqe* UringLoop::State::next_entry() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  if (sqe == nullptr) {
    make_room(1);
    sqe = io_uring_get_sqe(&ring);
    CANOPY_CHECK(sqe != nullptr);
  }
  return sqe;
}

void UringLoop::State::reap() {
  if (!stashed.empty()) {
    std::vector<io_uring_cqe> taken;
    taken.swap(stashed);
    for (const io_uring_cqe& cqe : taken) deliver(cqe);
  }
  // What is there now, not what arrives meanwhile: timers and posted work come round in between.
  const unsigned count = io_uring_cq_ready(&ring);
  // Completions stay in order: what was taken out of the ring meanwhile is older than what is still in it.
  for (unsigned i = 0; i < count && stashed.empty(); ++i) {
    const unsigned head = *ring.cq.khead;
    const io_uring_cqe cqe = ring.cq.cqes[head & ring.cq.ring_mask];
    io_uring_cq_advance(&ring, 1);
    deliver(cqe);
  }
}

void UringLoop::State::deliver(const io_uring_cqe& cqe) {
  auto* completion = reinterpret_cast<Completion*>(cqe.user_data);
  if (completion == nullptr) return;  // of a cancellation
  std::shared_ptr<void> last_hold;
  if (!kept.empty() && (cqe.flags & IORING_CQE_F_MORE) == 0) {
    if (auto found = kept.find(completion); found != kept.end()) {
      last_hold = std::move(found->second);
      kept.erase(found);
    }
  }
  completion->done(completion, cqe.res, cqe.flags);
}

Nanos UringLoop::now() const { return clock_ns(CLOCK_BOOTTIME); }
int64_t UringLoop::wall_clock_ns() const { return clock_ns(CLOCK_REALTIME); }

uint64_t UringLoop::random() {
  State& s = *state_;
  if (s.random_left == 0) {
    ssize_t got;
    do {
      got = getrandom(s.random_words.data(), sizeof s.random_words, 0);
    } while (got < 0 && errno == EINTR);
    CANOPY_CHECK(got == static_cast<ssize_t>(sizeof s.random_words));
    s.random_left = s.random_words.size();
  }
  return std::exchange(s.random_words[--s.random_left], 0);
}

void UringLoop::defer(std::coroutine_handle<> handle) { state_->ready.push_back(handle); }

void UringLoop::post(std::move_only_function<void()> work) {
  // All under the mutex: once the work can be taken, it may be what ends the loop, and nothing of it may be
  // touched.
  std::lock_guard lock(state_->posted_mutex);
  state_->posted.push_back(std::move(work));
  // Many posts between two turns of the loop cost one wake-up.
  if (!state_->has_posted.exchange(true)) state_->wake_up();
}

void UringLoop::arm(TimerNode& timer, Nanos when) { state_->timers.arm(timer, when); }
void UringLoop::disarm(TimerNode& timer) { state_->timers.disarm(timer); }
bool UringLoop::on_this_thread() const {
  return pthread_equal(state_->running_on.load(), pthread_self()) != 0;
}

io_uring_sqe* UringLoop::entry(Completion& completion) {
  io_uring_sqe* sqe = state_->next_entry();
  sqe->user_data = reinterpret_cast<uint64_t>(&completion);
  return sqe;
}

io_uring_sqe* UringLoop::entry_of_nobody() {
  io_uring_sqe* sqe = state_->next_entry();
  sqe->user_data = 0;
  return sqe;
}

void UringLoop::reserve(uint32_t count) { state_->make_room(count); }

void UringLoop::cancel(Completion& completion) { io_uring_prep_cancel(entry_of_nobody(), &completion, 0); }

void UringLoop::keep(Completion& completion, std::shared_ptr<void> owner) {
  state_->kept[&completion] = std::move(owner);
}

// The kernel takes as many slots as descriptors would be allowed. Made when first needed: a table for the
// largest limits takes 8 MiB of the kernel's memory.
bool UringLoop::State::make_table() {
  constexpr rlim_t kSlotsMax = 1u << 20;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  auto count = static_cast<uint32_t>(std::min(limit.rlim_cur, kSlotsMax));
  if (io_uring_register_files_sparse(&ring, count) != 0) return false;
  table_slots = count;
  return true;
}

UringLoop::State::Slot* UringLoop::State::free_slot() {
  if (!free_slots.empty()) {
    Slot& slot = slots[static_cast<size_t>(free_slots.back())];
    free_slots.pop_back();
    return &slot;
  }
  if (slots.size() >= table_slots) return nullptr;
  Slot& slot = slots.emplace_back();
  slot.state = this;
  slot.number = static_cast<int>(slots.size() - 1);
  slot.done = [](Completion* self, int32_t result, uint32_t) {
    auto& left = *static_cast<Slot*>(self);
    if (result == 0) left.state->free_slots.push_back(left.number);
  };
  return &slot;
}

int UringLoop::park(int fd) {
  State& s = *state_;
  if (s.table_slots == 0 && !s.make_table()) {
    park_from_ = INT32_MAX;  // does not get better: not asked again
    return -1;
  }
  State::Slot* slot = s.free_slot();
  if (slot == nullptr) return -1;
  if (io_uring_register_files_update(&s.ring, static_cast<unsigned>(slot->number), &fd, 1) != 1) {
    s.free_slots.push_back(slot->number);
    return -1;
  }
  close(fd);
  return slot->number;
}

void UringLoop::leave(int slot) {
  io_uring_sqe* sqe = entry(state_->slots[static_cast<size_t>(slot)]);
  io_uring_prep_close_direct(sqe, static_cast<unsigned>(slot));
}

}  // namespace canopy
