// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "recovery/claims.hpp"
#include "recovery/event_ring.hpp"
#include "recovery/ledger.hpp"
#include "recovery/region_map.hpp"
#include "recovery/reply.hpp"

namespace vmsrs::recovery {

// Who calls: a thread of the server, and the server's memory as that thread may use it.
struct Thread {
  ThreadId id;
  GuestMemory& memory;
};

// What PROFILE asks for.
struct WantedRegion {
  std::uint64_t address, bytes;
  std::uint32_t granule;
  std::uint64_t claims;  // where the server keeps the region's claims; 0: every store traps
  bool eager;            // what a crashed user wrote is restored by the call that ends the crash
};

// What a store to a granule with claims may say beside its bytes.
struct StoreHints {
  std::uint64_t ticket = 0;     // of the DRAIN that was carried out; 0: none
  bool write_set_full = false;  // the caller cannot claim the granule itself
  bool if_equal = false;        // only if `expected` is there now
  std::uint64_t expected = 0;

  // Is something else there than the caller expects? Then `found` is it.
  bool differ_from(const void* present, std::uint32_t bytes, std::uint64_t& found) const {
    if (!if_equal) return false;
    copy_bytes(&found, present, bytes);
    return found != expected;
  }
};

// Where a user has put what it wrote (vmsrs_written), and its vmsrs_handed_over_sum; address 0:
// nowhere.
struct HandedOver {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint64_t sum;
};

// Granules restored for one cause.
struct RestoreTally {
  std::uint64_t count;
  std::uint64_t cycles;                            // of the work by which they were restored
  std::uint64_t histogram[VMSRS_RESTORE_BUCKETS];  // by their share of it
};

// What the counters of MGMT_SERVER and MGMT_WORK count; under the server's lock, so of one instant.
struct Counters {
  std::uint64_t faults[VMSRS_FAULT_KIND_COUNT];
  std::uint64_t begun, finished, collected, reaped;
  std::uint64_t stores, loads, suppressed_stores;
  RestoreTally restores[VMSRS_RESTORE_CAUSE_COUNT];
  std::uint64_t calls[VMSRS_LIBRARY_CALLS];
  std::uint64_t repaired_tags;
  std::uint64_t suppressions, suppression_ns, ended_suppression_ns;
  std::uint64_t suppression_histogram[12];
  std::uint64_t no_storage, unprotected_stores;
  std::uint64_t exposed;
};

// One protected program: one or more processes. All members but lock() and those marked so need the
// server's lock; every operation answers as abi/README.md says of the call with its name.
class Server {
 public:
  void initialise(Platform& platform, PagePool& pool, EventRing& events, std::uint32_t index);

  SpinLock& lock() { return lock_; }
  void finish_operation() { ledger_.trim(); }

  // ---- definition (server_lifecycle.cpp); under the table's lock as well
  Reply define(const vmsrs_server_definition& definition);
  bool defined() const { return defined_; }
  const vmsrs_server_definition& definition() const { return definition_; }

  // ---- the processes that make up the server, by number (server_processes.cpp); attaching and
  // going under the table's lock as well
  static constexpr std::uint32_t kNoProcess = VMSRS_MAX_PROCESSES;
  bool attached() const { return process_count_ > 0; }
  // A call of one of its processes: its number - VMSRS_CALL_ATTACH.
  void count_call(std::uint64_t call) { ++counters_.calls[call % VMSRS_LIBRARY_CALLS]; }
  bool attached_from(std::uint64_t address_space, std::uint32_t process) const {
    const Process& here = processes_[process];
    return here.attached && !here.leaving && here.address_space == address_space;
  }
  std::uint32_t process_id(std::uint32_t process) const { return processes_[process].process_id; }
  std::uint32_t process_with_id(std::uint32_t process_id) const;  // kNoProcess: none
  std::uint32_t free_process() const;                             // the same
  Reply attach(std::uint32_t process, std::uint64_t address_space, std::uint32_t process_id);
  Reply detach(std::uint32_t process);
  // The process is dead. Its users have crashed, and are collected by the others; with the last one
  // users, records, regions and the attachment go, and named regions are kept. AGAIN: a piece of
  // that was done. From the first piece to the last the process is there, and makes no calls.
  static constexpr std::uint32_t kReapSteps = 192;  // each some 600 instructions at most
  Reply reap(std::uint32_t process, std::uint32_t steps = kReapSteps);
  std::uint32_t leaving_process() const;  // one that is being reaped; kNoProcess: none is
  // A call of this process is under way: addresses are its.
  void enter(std::uint32_t process) {
    if (process != present_) show(process);
  }
  Thread thread(std::uint64_t base, GuestMemory& memory) const {
    return {{base, present_}, memory};
  }

  // ---- regions (server_regions.cpp)
  Reply init_profile();
  Reply profile(const WantedRegion& wanted, Thread thread);
  Reply profile_fill(std::uint64_t region, std::uint64_t offset, Thread thread);
  Reply unprofile(std::uint64_t region);
  // Where the areas of the users are: VMSRS_MAX_USERS of `bytes` each.
  Reply user_areas(std::uint64_t address, std::uint64_t bytes, Thread thread);
  // The caller's process has at this address what another process has made its areas.
  Reply user_areas_join(std::uint64_t address, std::uint64_t bytes, Thread thread);
  // Whether see_fault() counts for the caller's process, until it detaches.
  Reply watch_faults(bool contained, Thread thread);

  // ---- regions that outlive their process (server_named.cpp)
  using RegionName = char[VMSRS_NAME_BYTES];  // not empty, zeroes after its end
  Reply profile_named(const WantedRegion& wanted, const RegionName& name, Thread thread);
  Reply unprofile_named(const RegionName& name);
  Reply profile_find(const RegionName& name);
  // The caller's process has at these addresses what another process has profiled.
  Reply profile_join(std::uint64_t address, std::uint64_t bytes, std::uint32_t granule,
                     std::uint64_t claims, const RegionName& name, Thread thread);

  // ---- users (server_users.cpp)
  // A reader's stores are refused.
  Reply user_begin(std::uint64_t label, bool reader, Thread thread);
  // With `keep`, the thread has its next user at once. `unwound`: it was taken to the scope's end.
  Reply user_end(bool keep, bool unwound, const vmsrs_write_set& set, const HandedOver& handed_over,
                 Thread thread);
  // `depth`: scopes that a user begun without a call has open, and its label; 0: as counted here.
  // FAULT_NONE: its thread has found it crashed. `restores`: what it wrote goes from eager regions
  // now.
  Reply user_crash(const vmsrs_crash& crash, std::uint64_t label, std::uint64_t depth,
                   const vmsrs_write_set& set, bool restores, Thread thread);
  Reply user_stuck(Thread thread);
  // Crashes the slot's user, of that generation, in the name of somebody else.
  // A fault that the processor saw before the thread's kernel: if the thread has an open scope and
  // its process contains faults, its user has crashed.
  void see_fault(const vmsrs_fault& fault, Thread thread);
  Reply user_suppress(std::uint64_t slot, std::uint64_t generation, vmsrs_fault_kind kind);
  // No store of the user that has been crashed since `epoch` is under way any more; or, of every
  // user, none that was under way when SERVICE gave `epoch`.
  Reply user_drained(std::uint64_t slot, std::uint64_t epoch, Thread thread);
  // The same as user_suppress for a user that does not come out of a store; it is stuck then.
  Reply user_abandon(std::uint64_t slot, std::uint64_t generation);
  // What management sees of it.
  Reply user_label(const void* text, std::uint32_t bytes, Thread thread);
  // The caller's user is no thread's for now; it is the caller's again, or that of another thread
  // of the same process.
  Reply user_suspend(std::uint64_t label, Thread thread);
  Reply user_resume(std::uint64_t slot, std::uint64_t generation, Thread thread);
  // The thread has died. True: it has no user any more, for that had stored nothing.
  bool end_idle_thread(Thread thread);

  // ---- memory (server_memory.cpp)
  Reply store(std::uint64_t address, std::uint64_t value, std::uint32_t bytes,
              const StoreHints& hints, Thread thread);
  Reply store_range(std::uint64_t to, std::uint64_t from, std::uint32_t bytes,
                    const StoreHints& hints, Thread thread);
  Reply fill_range(std::uint64_t to, std::uint8_t value, std::uint32_t bytes,
                   const StoreHints& hints, Thread thread);
  Reply load(std::uint64_t address, std::uint32_t bytes, Thread thread);
  Reply load_range(std::uint64_t address, std::uint32_t bytes, Thread thread);
  // Committed values, all of one instant.
  Reply load_committed(std::uint64_t from, std::uint64_t to, std::uint32_t bytes, Thread thread);

  // ---- exposed reads (server_exposed.cpp)
  // A load that takes note of whose unfinished bytes it gives.
  Reply load_sampled(std::uint64_t address, std::uint32_t bytes, Thread thread);
  // Has the caller's user read, in such a load, from one that has crashed since? And has it crashed
  // itself?
  Reply user_exposed(Thread thread) const;

  // What one call restores of a crashed user's granules while it holds other CPUs, at most.
  static constexpr std::uint64_t kHeldGranules = 1024;

  // ---- collection and service (server_collect.cpp)
  Reply user_collect(Thread thread);
  // `most_bytes`: of a comparison; 0: what a call does at most.
  Reply service(std::uint64_t most_bytes, Thread thread);
  Reply request_collection(std::uint64_t slot);  // kEveryCrashedUser: all of them
  static constexpr std::uint64_t kEveryCrashedUser = ~0ull;

  // ---- comparing region and mirror (server_compare.cpp)
  void request_comparison();
  void report_comparison(vmsrs_check_result& result);
  bool comparing() const { return comparison_.left > 0; }
  // Asks for the next `bytes` of the regions to be compared and mended, at most all of them.
  void request_scrub(std::uint64_t bytes);
  static constexpr std::uint64_t kEveryByte = ~0ull;
  std::uint64_t scrub_left() const { return attached() ? scrub_.left : 0; }  // bytes
  std::uint64_t sweep_restores() const { return counters_.restores[VMSRS_RESTORED_SWEEP].count; }

  // What is done about faults; the library reads it in the window (server_mode.cpp).
  void set_containment(vmsrs_server_containment mode);

  // ---- events (server_events.cpp)
  // `denied` says all but whose call it was: the process's that was entered.
  void tell_denied(vmsrs_event denied);

  // ---- what management sees (server_info.cpp)
  void info(vmsrs_server_info& out) const;
  void work(vmsrs_server_work& out) const;
  // What the caller's process says of its heaps: as it likes, nothing rests on it.
  Reply report_heaps(std::uint64_t quarantined_free_count);
  // Fills at most `room` records from the cursor on; moves the cursor, 0 at the end.
  std::uint32_t users(std::uint64_t& cursor, vmsrs_user_info* out, std::uint32_t room) const;
  // Of an unfinished user, or one that was recently collected.
  Reply label_of(std::uint64_t slot, std::uint64_t generation, UserLabel& out) const;
  const std::uint64_t* faults() const { return counters_.faults; }

  // ---- what management sees of regions and records (server_maps.cpp); lists as users() fills them
  std::uint32_t regions(std::uint64_t& cursor, vmsrs_region_info* out, std::uint32_t room) const;
  // Asks for a look at the region's granules, if `anew` and none is under way, and fills `out` as
  // the last one has found them. AGAIN: one is under way; WRONG_STATE: there has been none.
  Reply region_map(std::uint64_t index, bool anew, vmsrs_region_map& out);
  // Of one region, or VMSRS_EVERY_REGION; `values`: with the bytes. It may find none before the
  // end.
  std::uint32_t records(std::uint64_t region, std::uint64_t& cursor, bool values,
                        vmsrs_record_info* out, std::uint32_t room) const;

  // ---- invariants (server_checks.cpp, checks_*.cpp); not two checks at a time
  void begin_check();
  // A bounded piece, which adds to the results (all VMSRS_CHECK_COUNT of them). True: there is
  // more.
  bool check_piece(vmsrs_check_result* results);

 private:
  friend struct EngineProbe;

  // Round the regions, piece by piece.
  struct Walk {
    std::uint64_t left;    // bytes; 0: nobody wants more
    bool unreadable;       // some of it could not be read: nothing can be said of that
    std::uint32_t region;  // where it goes on
    std::uint64_t offset;
    vmsrs_check_result result;
  };
  enum class Repair { kNone, kRestore };
  // Where the check under way goes on: slots, pages of the pool, granules (place_of), the rest.
  struct CheckCursor {
    enum class Part { kSlots, kRecords, kHeads, kTotals, kDone } part = Part::kDone;
    std::uint64_t at = 0;
  };
  // Clearing the old tags of slots that rest: where it goes on.
  struct Aging {
    std::uint64_t ticket = 0;  // 0: nothing is under way
    bool cleared = false;
    std::uint32_t region = 0;
    std::uint64_t granule = 0;
  };
  struct Source;  // of a store's bytes
  // What a process has said of its users' faults.
  enum class WatchedFaults : std::uint8_t { kUnwatched, kLeft, kContained };
  struct Process {
    bool attached;
    bool leaving;  // is being reaped
    std::uint32_t process_id;
    std::uint64_t address_space;
    std::uint64_t number;  // of all that ever attached
    // Guest-virtual. Of a region: if the process has joined it.
    std::uint64_t areas;  // 0: it has none
    WatchedFaults faults;
    // Blocks of its heaps that wait for their users' ends, as it says itself.
    std::uint32_t quarantined_free_count;
    struct {
      std::uint64_t address, claims;
    } regions[VMSRS_MAX_REGIONS];
  };
  enum class Named { kKept, kGivenUp };
  struct Writers;

  // windows and mode (server_mode.cpp)
  void publish_everything();
  void publish_mode();
  void publish_shared();
  void publish_containment();
  void publish_user(Slot slot);
  enum class CrashedBy { kItself, kAnother };
  void enter_suppression(Slot slot, CrashedBy by);
  bool contains_faults(std::uint32_t process) const;
  void note_drained(User& user);
  void note_seen_to(User& user);
  void enter_stuck(User& user);
  void leave_suppression();
  void change_mode(bool suppression);
  bool suppressing() const { return (mode_ & VMSRS_MODE_SUPPRESSION) != 0; }
  void call_for_service();

  Region* region_at(std::uint64_t address, std::uint64_t bytes);
  std::uint8_t index_of(const Region& region) const {
    return static_cast<std::uint8_t>(&region - ledger_.regions);
  }
  std::uint64_t masked_sum(const Region& region, std::uint32_t granule, ByteMask mask) const {
    return vmsrs_masked_sum(index_of(region), granule, mask);
  }
  Region* region_named(const RegionName& name);
  Reply look_at_claims(const Region& region, GuestMemory& memory);
  static Region region_wanted(const WantedRegion& wanted);
  Reply profile_new(const Region& wanted, Thread thread);
  Reply look_at_ends(std::uint64_t address, std::uint64_t bytes, Access access, Thread thread);
  void close_user(Slot slot);

  // processes (server_processes.cpp)
  static constexpr std::uint16_t bit_of(std::uint32_t process) {
    return static_cast<std::uint16_t>(1u << process);
  }
  void show(std::uint32_t process);
  void set_place(Region& region, std::uint64_t address, std::uint64_t claims);
  void set_areas(std::uint64_t address);
  bool has_areas() const { return area_bytes_ != 0; }
  // Has a process beside the caller's joined the region?
  bool shared(const Region& region) const { return (region.processes & ~bit_of(present_)) != 0; }
  bool reaches(std::uint32_t process) const;
  bool leave_regions(std::uint32_t process, Named named, std::uint32_t& steps);
  void leave_regions(std::uint32_t process, Named named);
  void leave(std::uint32_t process, Named named);
  bool close_quiet_users(std::uint32_t process);
  bool end_users(std::uint32_t& steps);
  void end_everybody();
  std::uint64_t users_of(std::uint32_t process) const;
  bool orphan_users(std::uint32_t process, std::uint32_t& steps);
  void orphan(Slot slot);
  Reply serve_orphans(GuestMemory& memory);
  Reply scan_for_orphans(Region& region, std::uint32_t& claims, std::uint32_t& granules,
                         GuestMemory& memory);
  Reply restore_orphan(Slot slot, std::uint32_t& budget, GuestMemory& memory);
  void finish_orphans(std::uint32_t most = VMSRS_MAX_USERS);

  Reply put(std::uint64_t to, std::uint32_t bytes, const Source& source, const StoreHints& hints,
            Thread thread);
  bool reserve_records(Region& region, std::uint64_t at, std::uint32_t bytes, Slot slot);
  Reply settle_range(Region& region, std::uint64_t at, std::uint32_t bytes, GuestMemory& memory);
  // Brings a granule into line with what it is worth to a normal user; counts in `restored`.
  MemoryOutcome settle(Region& region, std::uint32_t granule, GuestMemory& memory,
                       RestoreTally& restored);
  Reply commit(Slot slot, const HandedOver& handed_over, GuestMemory& memory);
  void crash_without_fault(Slot slot, vmsrs_fault_kind kind, CrashedBy by);
  Reply first_word_of_crash(Slot slot, const vmsrs_crash& crash, std::uint64_t label,
                            std::uint64_t depth, const vmsrs_write_set& set);

  // granules with claims (server_claims.cpp)
  bool over(const Claimant& claimant) const;
  Slot owner_of_granule(const Claimant& claimant) const;
  void count_freed();
  void free_granule(MappedGranule& granule);
  Slot owner_of_granule(const Claimant& claimant, const Region& region, std::uint32_t index) const;
  void restore_granule(Region& region, std::uint32_t index, Slot owner, MappedGranule& granule,
                       RestoreTally& restored);
  MemoryOutcome settle_claimed(Region& region, std::uint32_t index, GuestMemory& memory,
                               RestoreTally& restored);
  void contend(Region& region, std::uint32_t index, RecordId frozen, std::uint64_t place,
               MappedGranule& granule, GuestMemory& memory);
  Reply record_store(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                     MappedGranule& granule);
  Reply store_unowned(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                      std::uint64_t tag, MappedGranule& granule);
  Reply store_frozen(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                     Slot owner, MappedGranule& granule, GuestMemory& memory);
  Reply store_claimed(Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                      GuestMemory& memory);
  bool needs_storage(const Region& region, const Piece& piece, const StoreHints& hints, Slot slot,
                     const Claimant& claimant) const;
  Reply store_without_storage(Region& region, const Piece& piece, const StoreHints& hints,
                              GuestMemory& memory);
  Reply load_claimed(Region& region, const Piece& piece, GuestMemory& memory);
  Reply repair(Region& region, std::uint32_t index, std::uint64_t ticket, MappedGranule& granule,
               GuestMemory& memory);
  Slot abandoned_user() const;
  Reply refused_for(Slot owner) const;

  // exposed reads (server_exposed.cpp)
  void find_writers(const Region& region, const Piece& piece, GuestMemory& memory,
                    Writers& writers);
  bool may_be_storing(Slot slot, GuestMemory& memory) const;
  void note_read(User& reader, Slot writer);
  void expose_readers(Slot slot);

  // slots whose generations come round (server_age.cpp)
  Reply serve_resting_slots(GuestMemory& memory);
  Reply clear_old_tags(GuestMemory& memory);
  MemoryOutcome clear_old_tag(const Region& region, std::uint32_t index, GuestMemory& memory);
  Reply slots_aged(std::uint64_t ticket);
  bool reaches_all_claims() const;
  void wake_all_slots();
  template <typename Wanted>
  void wake_slots(Wanted wanted);

  // write sets (server_write_set.cpp); a place is an entry's index in one
  static constexpr std::uint64_t kUnknownPlace = ~0ull;
  // User::taken: how many were gone through, once it has begun; of claims, not entries.
  static constexpr std::uint64_t kScan = 1ull << 63;
  static constexpr std::uint64_t kBegun = 1ull << 62;
  static constexpr std::uint64_t kPosition = kBegun - 1;
  static std::uint32_t granule_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry); }
  struct WriteSet {
    std::uint64_t count = 0, masked = 0;
    bool sound = false;
  };
  std::uint64_t area_of(Slot slot) const;
  std::uint64_t write_set_capacity() const;
  // A write set of no more entries is committed in one call, where its granules can all be mapped.
  static constexpr std::uint64_t kMostStaged = 20'480;
  static constexpr std::size_t kStagingBytes = kMostStaged * sizeof(std::uint64_t);
  static_assert(kStagingBytes >= VMSRS_MAX_RANGE_BYTES);
  std::uint64_t staged_entry(std::uint64_t i) const {
    return reinterpret_cast<const std::uint64_t*>(staging_)[i];
  }
  const vmsrs_written& staged_written(std::uint64_t offset) const {
    return *reinterpret_cast<const vmsrs_written*>(staging_ + offset);
  }
  MemoryOutcome read_entries(Slot slot, std::uint64_t first, std::uint64_t count,
                             GuestMemory& memory);
  Region* region_of_entry(std::uint64_t entry, const User& user);
  MemoryOutcome examine_write_set(Slot slot, WriteSet& set, GuestMemory& memory);
  template <typename Visit>
  void visit_marks(Slot slot, const Region& region, std::uint32_t index, GuestMemory& memory,
                   Visit visit);
  void void_claim(Slot slot, const Region& region, std::uint32_t index, std::uint64_t place,
                  GuestMemory& memory);
  Slot confirmed_owner(const Region& region, std::uint32_t index, GuestMemory& memory);
  bool holds(Slot slot, std::uint64_t entry, const Region& region,
             const MappedGranule& granule) const;
  Reply commit_claims(Slot slot, const HandedOver& handed_over, GuestMemory& memory);
  void apply_claim(Slot slot, Region& region, std::uint32_t index, ByteMask mask,
                   MappedGranule& granule);
  bool stage_handed_over(Slot slot, const HandedOver& handed_over, GuestMemory& memory);
  bool commit_handed_over(Slot slot, const HandedOver& handed_over, GuestMemory& memory);
  Reply apply_claims(Slot slot, const WriteSet& set, GuestMemory& memory);
  Reply take_claims(Slot slot, const WriteSet& set, GuestMemory& memory);
  Reply take_claim(Slot slot, Region& region, std::uint64_t entry, std::uint64_t place,
                   GuestMemory& memory);
  template <typename Visit>
  Reply visit_claims(Slot slot, const WriteSet& set, GuestMemory& memory, Visit visit);
  template <typename Visit>
  Reply scan_claims(Slot slot, GuestMemory& memory, Visit visit);
  bool restore_unclaimed(const Region& region, std::uint32_t index, MappedGranule& granule,
                         GuestMemory& memory);
  Reply collect_claims(Slot slot, GuestMemory& memory, RestoreTally& restored);

  Reply restore_records(Slot slot, std::uint32_t& budget, GuestMemory& memory,
                        RestoreTally& restored);
  void finish_collection(Slot slot);
  void forget_request(User& user);
  Reply wanted_drain(const Thread& thread) const;
  Reply serve_collections(GuestMemory& memory);

  // eager regions (server_eager.cpp)
  Reply serve_eager_regions(GuestMemory& memory);
  bool has_eager_region() const;
  Reply restore_eagerly(Slot slot, GuestMemory& memory);
  Reply restore_held(Slot slot, GuestMemory& memory);
  MemoryOutcome find_entries(Slot slot, std::uint64_t& count, bool& told, GuestMemory& memory);
  MemoryOutcome prepare_held(Slot slot, std::uint64_t entries, std::uint64_t records,
                             GuestMemory& memory);
  void restore_entries(Slot slot, std::uint64_t entries, GuestMemory& memory);
  void restore_some_records(Slot slot, std::uint64_t records, GuestMemory& memory);
  std::uint64_t live_bytes() const;
  void lengthen_walks(std::uint64_t bytes);
  void stop_walks();
  Reply serve_walks(std::uint64_t most_bytes, GuestMemory& memory);
  const Region* next_region(Walk& walk) const;
  Reply walk_piece(Walk& walk, Repair repair, std::uint64_t most_bytes, GuestMemory& memory);
  Reply sweep_eager_regions(User& user, GuestMemory& memory);
  MemoryOutcome compare_run(Walk& walk, const Region& region, std::uint64_t bytes, Repair repair,
                            GuestMemory& memory, std::uint64_t& done);
  MemoryOutcome examine_claimed(Walk& walk, const Region& region, std::uint32_t index,
                                Repair repair, GuestMemory& memory);
  MemoryOutcome examine(Walk& walk, const Region& region, std::uint64_t offset, Repair repair,
                        GuestMemory& memory);
  void describe(Slot slot, vmsrs_user_info& out) const;

  // regions and records (server_maps.cpp)
  void describe(const Region& region, vmsrs_region_info& out) const;
  void describe(const Region& region, const RegionMap& map, vmsrs_region_map& out) const;
  void describe(const Record& record, bool values, vmsrs_record_info& out) const;
  // Times a piece of work: granules that it restores, for that cause, take equal shares of it.
  class TimedRestores {
   public:
    TimedRestores(Server& server, vmsrs_restore_cause cause)
        : tally(server.restores(cause)), server_(server), begin_(server.platform_->cycles()) {}
    ~TimedRestores() {
      if (count() != 0)
        server_.observe_restores(tally, count(), server_.platform_->cycles() - begin_);
    }
    TimedRestores(const TimedRestores&) = delete;
    TimedRestores& operator=(const TimedRestores&) = delete;
    std::uint64_t count() const { return tally.count - before_; }

    RestoreTally& tally;

   private:
    Server& server_;
    const std::uint64_t begin_;
    const std::uint64_t before_ = tally.count;
  };
  void observe_restores(RestoreTally& tally, std::uint64_t count, std::uint64_t cycles) const;
  RestoreTally& restores(vmsrs_restore_cause cause) { return counters_.restores[cause]; }
  // A granule was restored, for that cause.
  static void count_restored(const Region& region, std::uint32_t granule, RestoreTally& tally) {
    ++tally.count;
    ++region.map->restored[granule >> region.bucket_shift];
  }
  void begin_map(Region& region);
  void forget_look(const Region& region);
  void want_look(const Region& region);
  static bool needs_claims(const Region& region);  // to tell who owns its granules
  std::uint32_t look_at(const Region& region, std::uint32_t granule, bool claimed);
  void look_at_records(const Region& region);
  Reply look_at_claims_of(const Region& region, GuestMemory& memory);
  void end_look(const Region& region);
  Reply serve_maps(GuestMemory& memory);

  // events (server_events.cpp)
  vmsrs_event event(vmsrs_event_type type) const;
  vmsrs_event event(vmsrs_event_type type, Slot slot) const;
  void tell_crash(Slot slot,
                  const vmsrs_crash* told);  // once; nullptr: its thread has said nothing
  void tell_of_user(vmsrs_event_type type, Slot slot);
  void tell_collected(Slot slot);
  void tell_suppression_began(Slot slot);
  void tell_suppression_ended();
  void tell_of_process(vmsrs_event_type type, std::uint32_t process, std::uint64_t count);
  void tell_merged(vmsrs_event_type type);
  void count_no_storage();
  void count_unprotected_store();

  // Pieces of a check (server_checks.cpp). True: the cursor has come to the part's end.
  bool check_slots(vmsrs_check_result* results);
  bool check_records(vmsrs_check_result* results);
  void check_record_page(std::uint32_t page, vmsrs_check_result* results);
  bool check_heads(vmsrs_check_result* results);
  void check_totals(vmsrs_check_result* results) const;
  std::uint32_t past_regions(std::uint32_t page) const;
  const Heads* heads_with(std::uint32_t page) const;
  void recount_slot(Slot slot);
  // What they look for, by invariant (checks_*.cpp): each adds to the result of its name.
  void check_unprotected(vmsrs_check_result& storage) const;
  void check_link(RecordId id, const Record& record, vmsrs_check_result& chains) const;
  bool check_head(const Region& region, std::uint32_t granule, vmsrs_check_result& chains) const;
  void check_user(Slot slot, vmsrs_check_result& users);
  void check_mode(vmsrs_check_result& users) const;
  void check_writer(const Record& record, vmsrs_check_result& users) const;
  void check_collected(Slot slot, vmsrs_check_result& collected) const;
  void check_collected(const Record& record, vmsrs_check_result& collected) const;
  void check_accounting(vmsrs_check_result& accounting) const;
  void check_status_page(vmsrs_check_result& windows) const;
  void check_window(Slot slot, vmsrs_check_result& windows) const;

  Platform* platform_ = nullptr;
  std::uint64_t restore_bounds_[VMSRS_RESTORE_BUCKETS - 1] = {};  // in cycles
  PagePool* pool_ = nullptr;
  EventRing* events_ = nullptr;
  std::uint32_t index_ = 0;
  SpinLock lock_;

  bool defined_ = false;
  vmsrs_server_definition definition_{};
  Process processes_[VMSRS_MAX_PROCESSES] = {};
  std::uint32_t process_count_ = 0;
  std::uint32_t present_ = kNoProcess;  // whose addresses are shown
  std::uint64_t attach_count_ = 0;
  std::uint64_t shared_ = 0;  // as in the status page: processes
  std::uint64_t unprotected_before_attach_ = 0;

  Ledger ledger_;
  // What was read of a server's memory and may not change before it is used: a range of bytes, or
  // the entries of a write set.
  std::uint8_t* staging_ = nullptr;  // kStagingBytes of hidden memory
  RegionMap* maps_ = nullptr;        // by region, in hidden memory
  std::uint64_t areas_ = 0;          // of the process that is shown; 0: it has none
  std::uint64_t area_bytes_ = 0;     // of one; 0: no process has areas, so no region has claims
  std::uint64_t repair_began_ = 0;   // ticket of the last tag that was found damaged
  std::uint64_t mode_ = 0;
  std::uint32_t containment_ = VMSRS_SERVER_OWN;
  std::uint64_t freed_ = 0;  // as in the status page
  std::uint64_t service_request_ = 0;
  std::uint64_t service_called_ns_ = 0;
  Tally crashed_count_;  // by slot, as the next three; stuck ones included
  Tally stuck_count_;
  Tally collect_requests_;
  Tally orphan_count_;
  std::uint64_t suppression_began_ns_ = 0;
  Aging aging_;
  CheckCursor check_;
  Walk comparison_{};  // of a check
  Walk scrub_{};       // of sweeps and scrubs
  Counters counters_{};
  Counters before_suppression_{};  // as they were when it began
  // Collected users, the newest at (recent_count_ - 1) % VMSRS_RECENT_USERS. Ages are kept as
  // times.
  vmsrs_user_info recent_[VMSRS_RECENT_USERS] = {};
  UserLabel recent_labels_[VMSRS_RECENT_USERS] = {};
  std::uint64_t recent_count_ = 0;
};

}  // namespace vmsrs::recovery
