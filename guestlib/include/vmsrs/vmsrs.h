/* SPDX-License-Identifier: Apache-2.0
 *
 * The VMSRS guest library, C interface.
 *
 * Conventions: functions that can fail return 0 or a negative vmsrs_error and leave a sentence for
 * people in vmsrs_error_message() (per thread). Addresses may have any alignment. Everything here
 * may be called from any thread once vmsrs_attach has returned; a user belongs to the thread that
 * began it. Synchronisation is the program's own: the library orders nothing between users. Locks
 * and other objects that threads wait on stay outside profiled regions.
 */
#ifndef VMSRS_VMSRS_H_
#define VMSRS_VMSRS_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmsrs/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vmsrs_error {
  VMSRS_ERROR_NO_PLATFORM = -1,   /* neither the VMSRS hypervisor nor vmsrs-hosted */
  VMSRS_ERROR_VERSION = -2,       /* hypervisor and library do not fit */
  VMSRS_ERROR_CONFIGURATION = -3, /* secret file, windows directory, a container's PID namespace:
                                     message says which and why */
  VMSRS_ERROR_DENIED = -4,        /* unknown server name or wrong secret */
  VMSRS_ERROR_STATE = -5,         /* not attached, attached already, no open scope, ... */
  VMSRS_ERROR_ARGUMENT = -6,
  VMSRS_ERROR_STORAGE = -7, /* recovery storage is full */
  VMSRS_ERROR_SYSTEM = -8,  /* a system call failed: message says which */
  VMSRS_ERROR_REFUSED = -9  /* users of this label crash too often at one site */
} vmsrs_error;

const char* vmsrs_error_message(void);

/* ---- Class 5: service -------------------------------------------------------------------------
 */

/* What is done about faults of users. */
enum vmsrs_containment_mode {
  VMSRS_CONTAINMENT_ON = 0,
  VMSRS_CONTAINMENT_OBSERVE = 1, /* counted, told on stderr, and then as without the library */
  VMSRS_CONTAINMENT_OFF = 2      /* as without the library */
};

/* System calls with effects outside that a crashed user's thread is refused (EPERM), unless its
 * server allows them. */
enum vmsrs_calls {
  VMSRS_CALLS_DESCRIPTORS = 1, /* write, send, close, settings of other descriptors than the user's
                                  connection and the files that it has opened since; new ones */
  VMSRS_CALLS_FILES = 2,       /* files by name, opening for writing included */
  VMSRS_CALLS_SIGNALS = 4,     /* sending signals, timers, handlers */
  VMSRS_CALLS_PROCESSES = 8, /* exec, exit of the process (refused: ends the user's scope), waiting
                                for children, limits; new threads and processes only with ALL */
  VMSRS_CALLS_MEMORY = 16,   /* mappings that it has not made since; shared, fixed and executable
                                ones */
  VMSRS_CALLS_ALL = 31       /* every call: nothing is looked at */
};

typedef struct vmsrs_options {
  const char* server_name;
  const char* secret_file;       /* 64 hex digits; readable by the server's account alone */
  const char* windows_directory; /* NULL: /run/vmsrs/windows; hosted: not used */
  uint32_t fault_limit;          /* faults of one user before it is unwound; 0: 1000 */
  uint32_t suppression_limit_ms; /* time from crash to unwinding; 0: 10000 */
  bool signal_mask_stays;  /* no thread blocks SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP or
                              SIGSYS after its first scope: the mask is looked at then, left open,
                              and not again (two system calls less a scope) */
  bool trap_every_store;   /* the simple mechanism: no claims in the server's memory, each store a
                              call; false: docs/protocol.md */
  uint32_t stuck_limit_ms; /* how long a thread waits for another to come out of a store that it is
                              in the middle of, before that one's user counts as stuck, in
                              milliseconds of the waiting thread's pauses; 0: 1000; at most 30000 */
  uint32_t exposed_sample_every; /* of so many users one is sampled, on average: vmsrs_exposed();
                                    1: each; 0: none */
  uint32_t containment;          /* enum vmsrs_containment_mode to begin with */
  uint32_t site_crash_limit; /* users of this process that may crash at one instruction within the
                                window; 0: 100. The next one ends the process, with a message */
  uint32_t crash_limit;      /* the same for all instructions together; 0: 1000 */
  uint32_t crash_window_s;   /* seconds; 0: 60 */
  bool site_limit_refuses;   /* past site_crash_limit the process goes on, and users with the label
                                of the one that crashed are refused (VMSRS_ERROR_REFUSED) for as
                                long as the window; of more than 64 labels at a time it ends */
  uint32_t crashed_calls;    /* enum vmsrs_calls: what crashed users' threads may do as well */
  bool locks_stay; /* the library does not let go of mutexes and reader-writer locks that a user
                      which had to be unwound has taken within its scope */
  void (*on_lock_left)(void* lock); /* NULL, or called before it lets go of one: a pthread_mutex_t
                                       or pthread_rwlock_t that the calling thread still holds. Its
                                       user is over and, in profiled memory, restored; or
                                       (vmsrs_rescue) runs on, suppressed, and is restored as others
                                       read. The place to mend, or mark, what else it guards */
} vmsrs_options;

/* Binds this process to its server, maps its window, installs the fault handler (SIGSEGV, SIGBUS,
 * SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS; those of threads without a user go to the handlers that
 * were there before) and starts the service thread. Once a process. Up to VMSRS_MAX_PROCESSES processes
 * may be attached to one server, all with the same trap_every_store; a child of fork is not
 * attached until it calls this itself, outside of all scopes. On the hypervisor a second process is
 * refused (VMSRS_ERROR_STATE) unless every store traps, and can join no region. */
int vmsrs_attach(const vmsrs_options* options);
/* Ends the protection of this process, and gives up all regions that no other one has, named ones
 * too. Fails with VMSRS_ERROR_STATE while a user of this process is unfinished. */
int vmsrs_detach(void);

/* Whether faults of users that have not crashed yet are contained from now on. Those that have are
 * contained to their end, whatever the mode; and what is no fault (crash_suppression_os,
 * vmsrs_user_suppress, a refused store, an exception) crashes its user in every mode. Of this
 * process, and in force unless the operator has said otherwise (vmsrsctl containment); then once he
 * takes that back. VMSRS_ERROR_STATE: the calling user has crashed. Any thread; async-signal-safe.
 */
int vmsrs_set_containment(enum vmsrs_containment_mode mode);

typedef struct vmsrs_containment_status {
  uint32_t mode;           /* enum vmsrs_containment_mode: what is in force */
  uint32_t polices_calls;  /* 1: system calls of crashed users' threads are; 0: by the options they
                              are not, or this kernel has no syscall user dispatch (Linux 5.11) */
  uint64_t crash_count;    /* users of this process that have crashed since it attached */
  uint64_t observed_count; /* faults that would have been contained */
  uint64_t refused_count;  /* scopes that were refused for their label */
  uint64_t refused_call_count; /* system calls of crashed users */
} vmsrs_containment_status;

/* Any thread; async-signal-safe: a program's own crash handler may ask what was observed. */
int vmsrs_get_containment(vmsrs_containment_status* status);

/* Where users have crashed: the instruction, by module and offset in it. */
typedef struct vmsrs_crash_site {
  char module[48]; /* file name of the program or shared library; empty: in none */
  uint64_t offset; /* as in the file's own addresses; the address itself if in no module */
  uint64_t instruction;
  uint64_t crashes; /* since the site is known; sites that had none for long are forgotten */
  uint32_t crashes_in_window;
  uint32_t fault; /* enum vmsrs_fault_kind of the last one */
} vmsrs_crash_site;

/* Up to `capacity` of them; returns how many are known, at most 24. Any thread. */
size_t vmsrs_crash_sites(vmsrs_crash_site* sites, size_t capacity);

/* sigaction() as the program means it while attached: of the seven signals that the library handles
 * first, the program's handler is recorded, called for every signal that is no user's fault, and
 * put in place by vmsrs_detach; any other signal is sigaction()'s. sigaction() and signal() of a
 * program that links this library are this function already, unless it defines its own. Returns
 * and errno as sigaction(). Any thread; async-signal-safe. */
struct sigaction;
int vmsrs_sigaction(int signal, const struct sigaction* action, struct sigaction* former);

/* Clears all profiled regions of this server (the paper, 4.6). Fails with VMSRS_ERROR_STATE if
 * another process stays attached for two seconds: one that has died takes as long to be seen. */
int Init_profile(void);
/* Protects [address, address + bytes): both multiples of 64; granule_bytes 8, 16, 32 or 64. Locks
 * the memory (hosted: puts shared memory with the same content in place of its pages, which nobody
 * may write to meanwhile). Takes the present content as committed. */
int profile(void* address, size_t bytes, unsigned granule_bytes);

/* Where the content of a named region came from. */
typedef enum vmsrs_profiled {
  VMSRS_PROFILED_NEW = 0, /* from the memory, as profile() does it */
  VMSRS_PROFILED_KEPT = 1 /* from the last process of this server: the memory was overwritten */
} vmsrs_profiled;

/* The same, and what is committed outlives this process: when it dies, the region's committed
 * content stays in the recovery storage, within the server's quota, for the next process of the
 * server that asks for the same name, bytes and granule, at whatever address. What users had not
 * finished is gone. `name`: 1 to 31 printable characters without blanks; each once a process.
 * Returns a vmsrs_profiled or a negative vmsrs_error; VMSRS_ERROR_STATE: the name is profiled
 * already, or kept with another size or granule. Pointers in the content are only good if the
 * memory is where it was. Given up by vmsrs_detach, Init_profile and unprofile_named, not by
 * exit(). As profile(), one call at a time. */
int profile_named(void* address, size_t bytes, unsigned granule_bytes, const char* name);
/* Gives this process a region that another process of the server has profiled under that name: from
 * here on both have the same memory. `address`: where it shall be (what was mapped at its pages is
 * gone), as far into its page as it is there; NULL: anywhere. `at` and `bytes` receive place and
 * size; NULL: not wanted. Users of both processes store to it, and what a user of one wrote when it
 * crashed is restored for the readers of the other. VMSRS_ERROR_ARGUMENT: nobody has profiled the
 * name; VMSRS_ERROR_STATE: not wholly yet, or this process has it already. As profile(), one call
 * at a time. */
int vmsrs_profile_join(const char* name, void* address, void** at, size_t* bytes);
/* How a region is to be kept. All zeroes: as profile() does it. */
typedef struct vmsrs_profile_options {
  const char* name; /* as in profile_named(); NULL: the region ends with this process */
  bool eager;       /* for programs that read the region with plain loads: what a crashed user wrote
                       is restored by the library call that tells of the crash, and the server's eager
                       regions are compared whole with what is committed, before on_crash is called.
                       Of a user that somebody else declared crashed: before vmsrs_user_suppress
                       returns, or the service thread is done. A crash in a large region takes as
                       long as reading it. false: restored where vmsrs_load... needs it (on demand) */
} vmsrs_profile_options;

/* profile() and profile_named() with options. Plain loads of other threads see whole aligned words.
 * Of several words of one user's they see all as before or all restored on the hypervisor, which
 * holds other processors for 1,024 granules at a time; on the hosted platform they may see some of
 * either. Stores go through this library under either policy. A kept
 * region gets the policy of the process that profiles it. Returns a vmsrs_profiled or a negative
 * vmsrs_error. */
int vmsrs_profile(void* address, size_t bytes, unsigned granule_bytes,
                  const vmsrs_profile_options* options);
/* Gives up a named region, whether this process has profiled it or it is kept. Fails with
 * VMSRS_ERROR_STATE while unfinished users have written to it or another process has it,
 * VMSRS_ERROR_ARGUMENT if there is none. Any thread. */
int unprofile_named(const char* name);

/* Makes a region of this process strict, whichever function has given it to the process; `region`
 * is its first byte. From here on a plain store to it by any thread of this process faults before
 * it changes anything: SIGSEGV with si_code SEGV_PKUERR. That of a user crashes it as any other
 * fault does (VMSRS_FAULT_WILD; vmsrs_error_message() says, from on_crash on, that it was a plain
 * store and whose instruction), that of a thread without a user is the program's own. This
 * library's stores go through, and those of code with hooks. Loads stay free. Strict until the
 * region is given up. Address and size must be multiples of a page. VMSRS_ERROR_SYSTEM: processor
 * or kernel have no protection keys, or none is left, and the message says which; the region is as
 * it was, and the program may go on with it. VMSRS_ERROR_STATE: not attached, or a user of this
 * process is unfinished: call it before there are users. One call at a time, as profile(). */
int vmsrs_make_strict(void* region);
/* Is that byte in a strict region of this process? Any thread; async-signal-safe. */
bool vmsrs_is_strict(const void* at);

typedef enum vmsrs_outcome {
  VMSRS_FINISHED = 0,
  VMSRS_SUPPRESSED = 1, /* the user had crashed: none of its writes counts, all is restored */
  VMSRS_UNWOUND = 2,    /* the same, and it had to be taken to its end point by force */
  VMSRS_SUSPENDED = 3   /* vmsrs_user_suspend: the scope is over, the user is not */
} vmsrs_outcome;

/* Runs body(argument) as one user. on_crash (may be NULL) is called in the fault handler as soon as
 * suppression is in force: async-signal-safe code only; the place to release the request's locks.
 * Of a user that somebody else declared crashed it is called in its thread's next monitored access
 * or fault, or where a scope begins or ends.
 * label is any number that lists shall show. Nested: part of the outer user. Returns a
 * vmsrs_outcome or a negative vmsrs_error (then body was not run). abort() in the body crashes its
 * user (VMSRS_FAULT_ABORT). Frames that unwinding skips get no destructors. If an exception or the
 * end of the thread takes the body away, its user has crashed, the scope is closed, and the
 * exception goes on. */
int vmsrs_run_user(uint64_t label, void (*body)(void*), void* argument, void (*on_crash)(void*),
                   void* on_crash_argument);

/* The same in two calls, without a point to unwind to: a user past its bounds is parked as stuck. A
 * thread that ends with such a scope open has crashed its user (VMSRS_FAULT_ABORT). vmsrs_user_end
 * returns a vmsrs_outcome or a negative vmsrs_error; VMSRS_ERROR_STATE: the calling thread has no
 * scope, or its innermost one is that of vmsrs_run_user or vmsrs_run_reader. */
int vmsrs_user_begin(uint64_t label);
int vmsrs_user_end(void);

/* For a server that works on a request in pieces, on whichever thread is free: the scope that is
 * open, the thread's outermost, will end without its user (VMSRS_SUSPENDED), which then is no
 * thread's. What it has stored stays unfinished; its label, its connection and what it has deferred
 * stay with it. A user that crashes before the scope's end is not suspended: that is its end, as
 * ever. VMSRS_ERROR_STATE: no scope is open, or it is not the outermost, or a reader's. */
int vmsrs_user_suspend(void);

/* The user of that number (vmsrs_user_number), which is suspended, goes on: as vmsrs_run_user and
 * vmsrs_user_begin, in a thread of the same process that has no scope open. VMSRS_SUPPRESSED: it was
 * declared crashed meanwhile (vmsrs_user_suppress, an operator); body was not run, all that it had
 * stored is restored and its end is over: after vmsrs_user_resume there is no scope to end.
 * VMSRS_ERROR_ARGUMENT: no such user of this process is suspended. A suspended user is unfinished:
 * one that is never resumed holds its place and what it has stored for as long as the process
 * lives, crashed or not. */
int vmsrs_run_resumed(uint64_t user, void (*body)(void*), void* argument, void (*on_crash)(void*),
                      void* on_crash_argument);
int vmsrs_user_resume(uint64_t user);

/* A user that only reads, and of other users only what they have finished: its loads give committed
 * values, whoever owns the bytes. Each word is one that was committed when it was read; two loads
 * may lie before and after another user's end. No trap where nobody unfinished has stored to the
 * granule; with trap_every_store each load is a call. A store in such a scope is refused: the user
 * crashes (VMSRS_FAULT_CHECK), and vmsrs_error_message() says so. Scopes within it are part of it.
 * Within another user's scope: VMSRS_ERROR_STATE. Everything else is as in vmsrs_run_user and
 * vmsrs_user_begin; the latter's scope ends with vmsrs_user_end. */
int vmsrs_run_reader(uint64_t label, void (*body)(void*), void* argument, void (*on_crash)(void*),
                     void* on_crash_argument);
int vmsrs_reader_begin(uint64_t label);

/* Has the calling thread's user crashed? False without a user. No trap while nobody is suppressed.
 */
bool vmsrs_user_crashed(void);

/* Why has the calling thread's user crashed? VMSRS_FAULT_NONE: it has not, or there is none.
 * VMSRS_FAULT_OPERATOR: somebody else has declared it. No trap while nobody is suppressed. */
enum vmsrs_fault_kind vmsrs_user_error(void);

/* function(argument), and what it returns; but `error` if the calling thread's user crashes in it:
 * an error that the caller knows how to handle. The user stays suppressed to its scope's end, after
 * on_crash as ever. A fault takes the thread out of the function at once, also of a user that
 * had crashed before; frames that this skips get no destructors, scopes that the function had
 * opened are closed, and pthread mutexes and reader-writer locks that it still holds are let go of
 * (locks_stay, on_lock_left). Where that would leave locks behind, which is in the C library and in this
 * one, the instruction is stepped over; and a crash that is no fault (crash_suppression_os, a
 * refused store, a failed check, a declared crash) lets the function go on: then it runs to its
 * end, and what it returns is replaced. Nested: the innermost one. Past the bounds in faults and
 * time the thread is taken to its scope's end all the same. Without a user: a plain call.
 * Exceptions pass. The function is not left by longjmp. */
int vmsrs_rescue(int (*function)(void*), void* argument, int error);

/* The number of the calling thread's user, for others to name it by; never given twice to one
 * server. 0: no scope is open. */
uint64_t vmsrs_user_number(void);

/* What lists and the API show of the calling thread's user, and metrics never: a session, a trace
 * id; any bytes, at most VMSRS_LABEL_BYTES, copied. In place of the last one; 0 bytes: none. Until
 * the scope ends. No call: it is handed over when the user has crashed and its thread knows.
 * VMSRS_ERROR_STATE: no scope is open, or the user has crashed already; VMSRS_ERROR_ARGUMENT: it is
 * longer. */
int vmsrs_user_label(const void* label, size_t bytes);

/* The descriptor of the calling thread's user's connection: what it may write to and close when it
 * has crashed, to say so. Until the scope ends. VMSRS_ERROR_STATE: no scope is open, or the user
 * has crashed already. */
int vmsrs_user_connection(int descriptor);

/* Has the calling thread's user read what another had not finished, who has crashed since? 1: it
 * has, for sure. 0: not that it was seen; only users that are sampled (exposed_sample_every) are
 * looked at, only their loads of words (with claims: of ranges, too), and only the last four
 * users that each has read from. Negative: VMSRS_ERROR_STATE, no scope is open. A user that builds
 * on what it has read may call this before it answers, and crash_suppression_os() if it must. */
int vmsrs_exposed(void);

/* Declares a user of this server crashed, whichever thread's it is: a watchdog's way to be rid of a
 * request that is stuck. When it returns 0, nobody who is not suppressed reads what the user wrote,
 * and no store of it is under way; if one is, it is waited for, at most for stuck_limit_ms: then
 * the user is stuck, and its store will not count whenever it comes. The user's thread runs on,
 * suppressed, hears of it at its next monitored access, and is taken to its end point when the time
 * for that (suppression_limit_ms) is over. 0 also if the user had crashed already;
 * VMSRS_ERROR_ARGUMENT: it has ended. Any thread; not in a signal handler. */
int vmsrs_user_suppress(uint64_t user);

/* The paper's name: the program itself has found an error in this user's work (failed check, say).
 * From here on the calling user is suppressed. Returns 0, or 1 if the thread knew that it is. */
int crash_suppression_os(enum vmsrs_fault_kind kind, const void* address);

/* Holds back an effect that others would see (a message, a write to a file) until the calling
 * thread's user has finished: effect(argument) is called then, in order, by the call that ends the
 * user, on its thread, which has no user any more. A crash drops it. Outside of a scope it is
 * called at once. 0, or VMSRS_ERROR_SYSTEM: no memory, and nothing will be called. Not in a signal
 * handler, nor in on_crash. */
int vmsrs_defer(void (*effect)(void*), void* argument);
/* callback(argument) is called when the user has crashed and all that it stored has been restored,
 * otherwise as vmsrs_defer; a user that finishes drops it. */
int vmsrs_on_collected(void (*callback)(void*), void* argument);

/* Loads that belong together: between these two calls they are all from before a crash, or all from
 * after it, if the second returns true; else load again. `began` is what the first returned. A
 * word only: nobody is kept from anything. */
uint64_t vmsrs_read_begin(void);
bool vmsrs_read_was_whole(uint64_t began);

/* The program, or a wrapper of its own, finds the calling thread's user to have misused something:
 * as crash_suppression_os(VMSRS_FAULT_CHECK, address), and vmsrs_error_message() says "function:
 * address: why". Without a user the process ends, saying so on the standard error. */
void vmsrs_report_misuse(const char* function, const void* address, const char* why);

/* ---- Class 1: memory operations on profiled memory ---------------------------------------------
 */

/* Loads cost no trap while nobody is suppressed. A crashed user's load may give any value. */
uint8_t vmsrs_load_u8(const uint8_t* from);
uint16_t vmsrs_load_u16(const uint16_t* from);
uint32_t vmsrs_load_u32(const uint32_t* from);
uint64_t vmsrs_load_u64(const uint64_t* from);
/* For code that has loaded the word itself, in line, and found a mode that it did not know
 * (<vmsrs/fast.hpp>): what that load should have given. */
uint8_t vmsrs_settled_u8(const uint8_t* from, uint8_t loaded);
uint16_t vmsrs_settled_u16(const uint16_t* from, uint16_t loaded);
uint32_t vmsrs_settled_u32(const uint32_t* from, uint32_t loaded);
uint64_t vmsrs_settled_u64(const uint64_t* from, uint64_t loaded);
/* A crashed user's store does nothing. Outside a scope, a store is a user of its own. A store that
 * the platform refuses (storage full, no such region) makes the user crash: it is never lost in
 * silence. */
void vmsrs_store_u8(uint8_t* to, uint8_t value);
void vmsrs_store_u16(uint16_t* to, uint16_t value);
void vmsrs_store_u32(uint32_t* to, uint32_t value);
void vmsrs_store_u64(uint64_t* to, uint64_t value);

/* Ranges up to VMSRS_MAX_RANGE_BYTES are one operation; longer ones one per piece of that size. */
void vmsrs_load_range(void* to, const void* from_profiled, size_t bytes);
void vmsrs_store_range(void* to_profiled, const void* from, size_t bytes);
void vmsrs_fill_range(void* to_profiled, int byte_value, size_t bytes);
/* If the `bytes` (1, 2, 4 or 8, aligned) at `word` are those at `expected`, they become those at
 * `desired`, and no other store comes between; true. Else `expected` receives what they are. */
bool vmsrs_compare_exchange(void* word, void* expected, const void* desired, size_t bytes);
/* Both sides profiled: a checked load, then a store. */
void vmsrs_assign(void* to_profiled, const void* from_profiled, size_t bytes);

/* ---- Class 3: memory of a region's -------------------------------------------------------------
 * A heap gives out memory of a region as malloc does; what it keeps about it lies elsewhere. It
 * follows its users: what a user frees is given to others when it has finished, and is not free at
 * all if it crashes; what a user took and did not free is free again when it has crashed and is
 * collected. Outside of a scope both count at once. No two blocks share a granule. Memory that is
 * freed twice, or never was allocated, or whose block was written past its begin, is an error of
 * the user (VMSRS_FAULT_CHECK): it crashes; without a user the process ends. A crashed user frees
 * nothing. A heap belongs to the process that made it. Not in signal handlers, nor in on_crash. */

typedef struct vmsrs_heap vmsrs_heap;

/* `memory`, of `bytes` (both multiples of 64), lies in one profiled region and is nobody's else.
 * kept: the region is VMSRS_PROFILED_KEPT, and a heap of the last process was here: what was
 * allocated and committed is allocated again, at the same distance from `memory`. NULL: the message
 * says why. The heap ends with vmsrs_heap_destroy, Init_profile and vmsrs_detach. */
vmsrs_heap* vmsrs_heap_create(void* memory, size_t bytes, bool kept);
/* Blocks that are still allocated stay where they are; freeing them is an error from now on. Fails
 * with VMSRS_ERROR_STATE while a scope is open. */
int vmsrs_heap_destroy(vmsrs_heap* heap);
/* Not allocated, by whomever; in blocks of powers of two. */
size_t vmsrs_heap_free_bytes(vmsrs_heap* heap);
/* alignment: a power of two up to 64 MiB, or 0: 16. Uninitialised. NULL: errno is ENOMEM, EINVAL.
 */
void* vmsrs_heap_alloc(vmsrs_heap* heap, size_t bytes, size_t alignment);

/* As in the C library, from the heap that was made first; realloc keeps a block in its own heap. */
void* vmsrs_malloc(size_t bytes);
void* vmsrs_calloc(size_t count, size_t bytes);
void* vmsrs_realloc(void* memory, size_t bytes);
int vmsrs_posix_memalign(void** memory, size_t alignment, size_t bytes);
void vmsrs_free(void* memory); /* of any heap; NULL: nothing */
/* The bytes that were asked for; 0: this is not the begin of an allocated block. */
size_t vmsrs_malloc_size(const void* memory);

/* ---- Class 4: pointers ------------------------------------------------------------------------
 * A pointer that knows its object. Between checks it may point anywhere. */

typedef struct vmsrs_pointer {
  char* at;
  char* begin; /* of the object */
  char* end;
  uint64_t life; /* which use of a heap's block it is; 0: the object is not a heap's */
} vmsrs_pointer;

/* To an object that outlives it. */
vmsrs_pointer vmsrs_pointer_to(void* object, size_t bytes);
/* To the begin of what a heap has allocated; of anything else: to nothing, every check fails. */
vmsrs_pointer vmsrs_pointer_of(void* memory);
/* pointer.at, if `bytes` from there on lie in the object and it is not freed. Else it is an error
 * of the user (VMSRS_FAULT_CHECK), and pointer.begin is returned, for a crashed user to go on with;
 * without a user the process ends. */
void* vmsrs_pointer_check(vmsrs_pointer pointer, size_t bytes);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* VMSRS_VMSRS_H_ */
