// Threads that do a job together. With OpenMP they are torch's own: others would fight with those for the cores, as
// torch's threads stay awake for a while after each of their jobs.

#pragma once

#include <unistd.h>

#include <cstdint>
#include <functional>

#ifdef _OPENMP
#include <omp.h>
#else
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#endif

// One of the threads that do a job.
struct Worker {
    int64_t index, n_workers;
    const std::function<void()>& wait_for_others;

    // Of n pieces of work those that are this thread's own: always the same ones.
    template <typename Piece>
    void share(int64_t n, Piece piece) const {
        for (int64_t i = n * index / n_workers; i < n * (index + 1) / n_workers; i++) piece(i);
    }
};

using Job = std::function<void(const Worker&)>;

#ifdef _OPENMP
static const pid_t parent = getpid();

// Does the job with so many threads, this one among them. A forked process has none of its parent's, and works alone.
static void work(int64_t n_threads, const Job& job) {
    const std::function<void()> meet = [] {
#pragma omp barrier
    };
#pragma omp parallel num_threads(getpid() == parent ? n_threads : 1)
    job({omp_get_thread_num(), omp_get_num_threads(), meet});
}
#else
constexpr std::chrono::microseconds AWAKE(50);

// Tells the processor that this thread only waits.
static inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Where threads wait for each other.
class Barrier {
   public:
    explicit Barrier(int64_t n_threads) : n_threads(n_threads) {}

    void wait() {
        const uint32_t round = rounds;  // before arriving: no new one begins without this thread
        if (++n_arrived == n_threads) {
            n_arrived = 0;
            rounds++;
            if (n_asleep > 0) {
                std::lock_guard lock(mutex);
                changed.notify_all();
            }
            return;
        }
        for (const auto end = std::chrono::steady_clock::now() + AWAKE; std::chrono::steady_clock::now() < end;)
            for (int i = 0; i < 20; i++) {
                if (rounds != round) return;
                relax();
            }
        std::unique_lock lock(mutex);
        n_asleep++;  // before looking at `rounds` again, which the last to arrive changes before it looks at `n_asleep`
        changed.wait(lock, [&] { return rounds != round; });
        n_asleep--;
    }

   private:
    const int64_t n_threads;
    std::atomic<int64_t> n_arrived = 0, n_asleep = 0;
    std::atomic<uint32_t> rounds = 0;
    std::mutex mutex;
    std::condition_variable changed;
};

// Threads that are started once and wait between the jobs.
class Crew {
   public:
    // Does the job with so many threads, this one among them.
    void work(int64_t n_threads, const Job& job) {
        std::lock_guard lock(one_at_a_time);
        if (n_threads != n_workers) start(n_threads);
        current = &job;
        barrier->wait();
        job({0, n_workers, meet});
        barrier->wait();
    }

   private:
    void start(int64_t n_threads) {
        if (barrier) {
            current = nullptr;
            barrier->wait();
            for (std::thread& thread : others) thread.join();
            others.clear();
        }
        n_workers = n_threads;
        barrier = std::make_unique<Barrier>(n_threads);
        meet = [this] { barrier->wait(); };
        for (int64_t i = 1; i < n_threads; i++) others.emplace_back([this, i] { wait_for_jobs(i); });
    }

    void wait_for_jobs(int64_t index) {
        while (true) {
            barrier->wait();
            if (!current) return;
            (*current)({index, n_workers, meet});
            barrier->wait();
        }
    }

    std::mutex one_at_a_time;
    std::unique_ptr<Barrier> barrier;
    std::function<void()> meet;
    std::vector<std::thread> others;
    const Job* current = nullptr;
    int64_t n_workers = 0;
};

// The crew of this process. It is never dismissed: a process ends while its threads sleep. A forked process has none of
// its parent's threads, and gets its own.
static Crew& crew() {
    struct Own {
        pid_t process;
        Crew crew;
    };
    static std::atomic<Own*> current;
    Own* found = current;
    while (!found || found->process != getpid()) {
        Own* const own = new Own{getpid(), {}};
        if (current.compare_exchange_strong(found, own)) return own->crew;
        delete own;  // another thread was faster
    }
    return found->crew;
}

static void work(int64_t n_threads, const Job& job) { crew().work(n_threads, job); }
#endif
