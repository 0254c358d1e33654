/*
 * Barriers, shuffles, votes and asynchronous copies. A thread leaves its value and waits; the last
 * one of a mask computes the results of all, so that nobody can overwrite what another has
 * yet to read. What would hang a device, or leave it undefined, ends the program with
 * a sentence.
 */
#include "simt_internal.h"

#include <cstdio>
#include <string>

namespace simt {

static const char *name_of(simt_collective what) {
  static const char *const names[] = {
#define SIMT_NAME(name) #name,
      SIMT_COLLECTIVES(SIMT_NAME)
#undef SIMT_NAME
  };
  return names[what];
}

static thread *caller(simt_collective what) {
  if (!current)
    simt_fatal("%s was called outside of a kernel", name_of(what));
  return current;
}

/* ---- Blocks ------------------------------------------------------------------------ */

void leave_collectives(thread *t) {
  warp &w = now.warps[t->number / WARP];
  const unsigned lane = t->number % WARP;
  w.exited |= 1U << lane;
  for (unsigned i = 0; i < w.n_gatherings; i++)
    if (w.gatherings[i].mask >> lane & 1)
      simt_fatal("lane %u has exited, but mask 0x%08x of %s names it", lane, w.gatherings[i].mask,
                 name_of(w.gatherings[i].what));
  if (now.n_waiting > 0 && now.n_waiting == now.n_live)
    release_block();
}

/* "3-5, 9 wait at __syncthreads; ..." */
void report_deadlock() {
  std::string text;
  for (int what = 0; what < SIMT_N_COLLECTIVES; what++) {
    std::string those;
    for (unsigned i = 0, end; i < now.n_threads; i = end + 1) {
      auto waits = [what](unsigned k) {
        const thread &t = now.threads[k];
        return k < now.n_threads && t.state != thread_state::exited && t.waits_at == what;
      };
      for (end = i; waits(end); end++) {
      }
      if (end > i)
        those += (those.empty() ? "" : ", ") + std::to_string(i) +
                 (end - i > 1 ? "-" + std::to_string(end - 1) : "");
    }
    if (!those.empty())
      text += (text.empty() ? "" : "; ") + those + " wait at " + name_of(static_cast<simt_collective>(what));
  }
  simt_fatal("deadlock: no thread of the block can go on; of its %u threads, %s", now.n_threads,
             text.c_str());
}

} // namespace simt

using namespace simt;

int simt_block_collective(simt_collective what, int predicate) {
  thread *t = caller(what);
  if (now.n_waiting > 0 && now.waits_at != what)
    simt_fatal("%s was called while others of the block wait at %s", name_of(what), name_of(now.waits_at));
  now.waits_at = t->waits_at = what;
  now.n_true += predicate != 0;
  now.n_waiting++;
  t->state = thread_state::waits_for_block;
  if (now.n_waiting == now.n_live)
    release_block();
  wait_until_ready();
  switch (what) {
  case SIMT__syncthreads_or:
    return now.result > 0;
  case SIMT__syncthreads_and:
    return now.result == now.n_result;
  default:
    return now.result;
  }
}

/* ---- Warps ------------------------------------------------------------------------- */

namespace simt {

/* The result of a shuffle from a lane that takes no part is undefined: something that is wrong. */
static void finish_shuffle(warp &w, unsigned mask) {
  for (unsigned rest = mask; rest; rest &= rest - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
    const unsigned source = w.source[lane];
    w.result[lane] = mask >> source & 1 ? w.value[source] : ~uint64_t{0x5A5A};
  }
}

static unsigned lanes_with(const warp &w, unsigned mask, uint64_t value) {
  unsigned lanes = 0;
  for (unsigned rest = mask; rest; rest &= rest - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
    lanes |= static_cast<unsigned>(w.value[lane] == value) << lane;
  }
  return lanes;
}

static uint64_t combine(simt_collective what, uint64_t a, uint64_t b) {
  const int64_t x = static_cast<int64_t>(a), y = static_cast<int64_t>(b);
  switch (what) {
  case SIMT__reduce_add_sync:
    return a + b;
  case SIMT__reduce_min_sync:
    return x < y ? a : b;
  case SIMT__reduce_max_sync:
    return x < y ? b : a;
  case SIMT__reduce_and_sync:
    return a & b;
  case SIMT__reduce_or_sync:
    return a | b;
  default:
    return a ^ b;
  }
}

static uint64_t common_result(simt_collective what, const warp &w, unsigned mask) {
  switch (what) {
  case SIMT__syncwarp:
    return 0;
  case SIMT__ballot_sync:
    return lanes_with(w, mask, 1);
  case SIMT__any_sync:
    return lanes_with(w, mask, 1) != 0;
  case SIMT__all_sync:
    return lanes_with(w, mask, 1) == mask;
  default: /* __reduce_..._sync */
    uint64_t result = w.value[__builtin_ctz(mask)];
    for (unsigned rest = mask & (mask - 1); rest; rest &= rest - 1)
      result = combine(what, result, w.value[__builtin_ctz(rest)]);
    return result;
  }
}

static void finish(simt_collective what, warp &w, unsigned mask) {
  if (what >= SIMT__shfl_sync && what <= SIMT__shfl_xor_sync) {
    finish_shuffle(w, mask);
    return;
  }
  const uint64_t common = what == SIMT__match_any_sync ? 0 : common_result(what, w, mask);
  for (unsigned rest = mask; rest; rest &= rest - 1) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(rest));
    w.result[lane] = what == SIMT__match_any_sync ? lanes_with(w, mask, w.value[lane]) : common;
  }
}

/* The others of the mask can go on: at once or when all that now can have had their turn. */
static void release_lanes(const thread *last, unsigned mask) {
  const unsigned number = last->number / WARP * WARP;
  const simt_order order = simt_machine().order;
  const bool backwards = order == SIMT_VARIED ? next_random(&now.random) & 1 : order == SIMT_BACKWARD;
  for (unsigned rest = mask & ~(1U << last->number % WARP); rest;) {
    const int lane = backwards != now.depth_first ? 31 - __builtin_clz(rest) : __builtin_ctz(rest);
    rest &= ~(1U << lane);
    make_ready(&now.threads[number + static_cast<unsigned>(lane)], now.depth_first);
  }
}

/* The gathering of this mask, found or made, with this lane in it. */
static gathering *join(simt_collective what, warp &w, unsigned lane, unsigned mask, unsigned bytes) {
  for (gathering *g = w.gatherings; g < w.gatherings + w.n_gatherings; g++) {
    if (g->mask != mask)
      continue;
    if (g->what != what || g->bytes != bytes)
      simt_fatal("lane %u is at %s of %u bytes, while others of its mask 0x%08x wait at %s of %u bytes", lane,
                 name_of(what), bytes, mask, name_of(g->what), g->bytes);
    g->arrived |= 1U << lane;
    return g;
  }
  gathering *g = &w.gatherings[w.n_gatherings++];
  *g = {mask, 1U << lane, what, bytes};
  return g;
}

static uint64_t gather(thread *t, simt_collective what, unsigned mask, uint64_t value, unsigned bytes,
                       unsigned source) {
  warp &w = now.warps[t->number / WARP];
  const unsigned lane = t->number % WARP;
  if (!(mask >> lane & 1))
    simt_fatal("lane %u called %s with mask 0x%08x, which lacks it", lane, name_of(what), mask);
  if (mask & w.exited)
    simt_fatal("lane %d has exited or never was, but mask 0x%08x of %s names it",
               __builtin_ctz(mask & w.exited), mask, name_of(what));
  w.value[lane] = value;
  w.source[lane] = source;
  gathering *g = join(what, w, lane, mask, bytes);
  if (g->arrived == mask) {
    *g = w.gatherings[--w.n_gatherings];
    finish(what, w, mask);
    release_lanes(t, mask);
  } else {
    t->state = thread_state::waits_for_warp;
    t->waits_at = what;
    wait_until_ready();
  }
  return w.result[lane];
}

} // namespace simt

uint64_t simt_warp_collective(simt_collective what, unsigned mask, uint64_t value, unsigned bytes) {
  return gather(caller(what), what, mask, value, bytes, 0);
}

/* The lane that a shuffle takes its value from: as in the PTX manual. */
uint64_t simt_shuffle(simt_collective what, unsigned mask, uint64_t value, unsigned bytes, int argument,
                      int width) {
  thread *t = caller(what);
  if (width < 1 || width > warpSize || (width & (width - 1)) != 0)
    simt_fatal("the width of %s is %d; it has to be a power of two up to 32", name_of(what), width);
  const int lane = static_cast<int>(t->number % WARP), first = lane & -width, last = first + width - 1;
  int source = lane;
  argument &= warpSize - 1;
  if (what == SIMT__shfl_sync)
    source = first | (argument & (width - 1));
  else if (what == SIMT__shfl_up_sync && lane - argument >= first)
    source = lane - argument;
  else if (what == SIMT__shfl_down_sync && lane + argument <= last)
    source = lane + argument;
  else if (what == SIMT__shfl_xor_sync && (lane ^ argument) <= last)
    source = lane ^ argument;
  return gather(t, what, mask, value, bytes, static_cast<unsigned>(source));
}

/* Nothing promises that any other lane is here too. */
unsigned __activemask() {
  return 1U << (current ? current->number % WARP : 0);
}

/* ---- Asynchronous copies ------------------------------------------------------------- */

void __pipeline_memcpy_async(void *to, const void *from, size_t bytes, size_t zero_fill) {
  if ((bytes != 4 && bytes != 8 && bytes != 16) || zero_fill > bytes)
    simt_fatal("__pipeline_memcpy_async of %zu bytes, %zu of them zeros", bytes, zero_fill);
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes != 0)
    simt_fatal("__pipeline_memcpy_async of %zu bytes from %p to %p, which are not aligned to that", bytes,
               from, to);
  const unsigned char *target = static_cast<unsigned char *>(to);
  if (target < now.shared || target + bytes > now.shared + now.shared_bytes)
    simt_fatal("__pipeline_memcpy_async of %zu bytes to %p, outside the dynamic shared memory", bytes, to);
  current->copies.push_back(
      {to, from, static_cast<unsigned>(bytes), static_cast<unsigned>(zero_fill), current->batches});
}

void __pipeline_commit() {
  current->batches++;
}

void __pipeline_wait_prior(size_t prior) {
  std::vector<copy> &copies = current->copies;
  size_t done = 0;
  for (; done < copies.size() && copies[done].batch + prior < current->batches; done++) {
    const copy &c = copies[done];
    memcpy(c.to, c.from, c.bytes - c.zero_fill);
    memset(static_cast<char *>(c.to) + (c.bytes - c.zero_fill), 0, c.zero_fill);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(done));
}
