/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypercall ABI of VMSRS: call numbers, statuses, structures and the register map. C11 and
 * C++20. What each call does, who may make it, what it locks and whether repeating it is harmless
 * stands in abi/README.md, call by call. This header includes nothing of ours.
 *
 * Rules: all fields have fixed width; reserved fields must be zero; numbers are never used again;
 * the same major version is compatible when the caller's minor is not above the callee's.
 */
#ifndef VMSRS_ABI_H_
#define VMSRS_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VMSRS_STATIC_ASSERT static_assert
extern "C" {
#else
#define VMSRS_STATIC_ASSERT _Static_assert
#endif

#define VMSRS_ABI_MAJOR 1u
#define VMSRS_ABI_MINOR 0u
#define VMSRS_ABI_VERSION ((VMSRS_ABI_MAJOR << 16) | VMSRS_ABI_MINOR)

/* ---- Discovery: CPUID -------------------------------------------------------------------------
 */

#define VMSRS_CPUID_SIGNATURE_LEAF \
  0x40000000u /* EBX, ECX, EDX = "VMSRSVMSRSVM"; EAX = highest leaf */
#define VMSRS_CPUID_VERSION_LEAF 0x40000001u /* EAX = VMSRS_ABI_VERSION */
#define VMSRS_CPUID_SIGNATURE "VMSRSVMSRSVM"

/* ---- Register map ------------------------------------------------------------------------------
 * VMMCALL with RAX = call number and arguments 0..5 in RDI, RSI, RDX, R10, R8, R9. On return RAX is
 * the status, RDX the first and RSI the second result (unchanged where a call names none). All
 * other registers keep their values. The calling thread is known by its FS base, its address space
 * by CR3: neither is an argument, so neither can be forged or scribbled over. */

/* ---- Calls -------------------------------------------------------------------------------------
 */

enum vmsrs_call {
  VMSRS_CALL_VERSION = 0x000,

  /* Library calls: from ring 3 of a server. */
  VMSRS_CALL_ATTACH = 0x100,
  VMSRS_CALL_DETACH = 0x101,
  VMSRS_CALL_INIT_PROFILE = 0x102,
  VMSRS_CALL_PROFILE = 0x103,
  VMSRS_CALL_PROFILE_FILL = 0x104,
  VMSRS_CALL_UNPROFILE = 0x105,
  VMSRS_CALL_PROFILE_NAMED = 0x106,
  VMSRS_CALL_USER_AREAS = 0x107,
  VMSRS_CALL_UNPROFILE_NAMED = 0x108,
  VMSRS_CALL_PROFILE_FIND = 0x109,
  VMSRS_CALL_PROFILE_JOIN = 0x10a,
  VMSRS_CALL_USER_AREAS_JOIN = 0x10b,
  VMSRS_CALL_WATCH_FAULTS = 0x10c,
  VMSRS_CALL_USER_BEGIN = 0x110,
  VMSRS_CALL_USER_END = 0x111,
  VMSRS_CALL_USER_CRASH = 0x112,
  VMSRS_CALL_USER_COLLECT = 0x113,
  VMSRS_CALL_USER_STUCK = 0x114,
  VMSRS_CALL_USER_DECLARE = 0x115,
  VMSRS_CALL_USER_DRAINED = 0x116,
  VMSRS_CALL_USER_EXPOSED = 0x117,
  VMSRS_CALL_USER_ABANDON = 0x118,
  VMSRS_CALL_USER_LABEL = 0x119,
  VMSRS_CALL_USER_SUSPEND = 0x11a,
  VMSRS_CALL_USER_RESUME = 0x11b,
  VMSRS_CALL_STORE = 0x120,
  VMSRS_CALL_STORE_RANGE = 0x121,
  VMSRS_CALL_FILL_RANGE = 0x122,
  VMSRS_CALL_LOAD = 0x123,
  VMSRS_CALL_LOAD_RANGE = 0x124,
  VMSRS_CALL_LOAD_COMMITTED = 0x125,
  VMSRS_CALL_LOAD_SAMPLED = 0x126,
  VMSRS_CALL_SERVICE = 0x130,
  VMSRS_CALL_REPORT_HEAPS = 0x131,

  /* Management calls: need a capability. */
  VMSRS_CALL_MGMT_OPEN = 0x200,
  VMSRS_CALL_MGMT_CLOSE = 0x201,
  VMSRS_CALL_MGMT_STATS = 0x210,
  VMSRS_CALL_MGMT_EXITS = 0x211,
  VMSRS_CALL_MGMT_SERVER = 0x212,
  VMSRS_CALL_MGMT_USERS = 0x213,
  VMSRS_CALL_MGMT_CHECK = 0x214,
  VMSRS_CALL_MGMT_LABEL = 0x215,
  VMSRS_CALL_MGMT_LOG = 0x216,
  VMSRS_CALL_MGMT_MEMORY = 0x217,
  VMSRS_CALL_MGMT_GUEST_ENDS = 0x218,
  VMSRS_CALL_MGMT_GUEST_CPU = 0x219,
  VMSRS_CALL_MGMT_EVENTS = 0x21a,
  VMSRS_CALL_MGMT_REGIONS = 0x21b,
  VMSRS_CALL_MGMT_REGION_MAP = 0x21c,
  VMSRS_CALL_MGMT_RECORDS = 0x21d,
  VMSRS_CALL_MGMT_WORK = 0x21e,
  VMSRS_CALL_MGMT_DEFINE = 0x220,
  VMSRS_CALL_MGMT_COLLECT = 0x221,
  VMSRS_CALL_MGMT_REAP = 0x222,
  VMSRS_CALL_MGMT_SCRUB = 0x223,
  VMSRS_CALL_MGMT_SUPPRESS = 0x224,
  VMSRS_CALL_MGMT_CONTAINMENT = 0x225,
  VMSRS_CALL_MGMT_SECRET = 0x226,
  VMSRS_CALL_MGMT_ANNOUNCE_RESET = 0x227,
  VMSRS_CALL_MGMT_ACKNOWLEDGE_EVENTS = 0x228
};

/* ---- Statuses ----------------------------------------------------------------------------------
 */

enum vmsrs_status {
  VMSRS_OK = 0,
  VMSRS_UNKNOWN_CALL = 1,
  VMSRS_BAD_VERSION = 2,  /* the caller's ABI version is not served */
  VMSRS_BAD_ARGUMENT = 3, /* reserved bits set, unknown flag, value out of its range */
  VMSRS_BAD_ADDRESS = 4,  /* non-canonical, kernel half, not for user code, hidden, not RAM */
  VMSRS_BAD_LENGTH = 5,   /* zero, beyond the call's limit, or address + length overflows */
  VMSRS_UNALIGNED = 6,
  VMSRS_TOUCH = 7,        /* page not present or not writable: touch the address in RDX, repeat */
  VMSRS_NOT_ATTACHED = 8, /* this address space belongs to no server */
  VMSRS_BUSY = 9,         /* this process is attached already, or the thing is in use */
  VMSRS_DENIED = 10,      /* wrong secret, missing capability, wrong privilege level */
  VMSRS_NO_STORAGE = 11,  /* recovery storage or quota is used up */
  VMSRS_NO_REGION = 12,   /* address range is not (wholly) in one live region */
  VMSRS_OVERLAP = 13,     /* region overlaps another */
  VMSRS_NO_USER = 14,     /* the calling thread has no open user scope */
  VMSRS_USER_EXISTS = 15, /* the calling thread has one already */
  VMSRS_NO_SLOT = 16,     /* too many unfinished users, regions or processes */
  VMSRS_CRASHED = 17,     /* the calling user is suppressed: nothing was changed */
  VMSRS_AGAIN = 18,       /* a bounded piece was done; repeat the call to go on */
  VMSRS_NOT_FOUND = 19,   /* no such server, user or CPU */
  VMSRS_WRONG_STATE = 20, /* not in a state in which the call makes sense */
  VMSRS_THROTTLED = 21,   /* too many failed openings: wait, then try again */
  VMSRS_REPEAT = 22,      /* nobody is in the way (any more): make the access yourself, again */
  VMSRS_DRAIN = 23,       /* see that the windows named by RDX are closed, call again with ticket RSI */
  VMSRS_WAIT = 24,        /* a user declared crashed may still be storing: call again a little later */
  VMSRS_READ_ONLY = 25,   /* the calling user has said that it only reads: nothing was changed */
  VMSRS_JOIN = 26,        /* another process of the server has it: it can be joined */
  VMSRS_OWNER_STUCK = 29, /* a stuck user, in slot RDX, may still be storing: not for now */
  VMSRS_OTHER_SHAPE = 30, /* the named region is there with another size or granule */
  VMSRS_NO_ENGINE = 31,   /* the hypervisor has contradicted itself: nothing is protected any more */
  VMSRS_STATUS_COUNT = 32
};

/* ---- Limits ------------------------------------------------------------------------------------
 */

#define VMSRS_PAGE_BYTES 4096u
#define VMSRS_MAX_SERVERS 16u
#define VMSRS_MAX_PROCESSES 16u      /* of one server, at a time */
#define VMSRS_MAX_USERS 1024u        /* unfinished users of one server */
#define VMSRS_MAX_REGIONS 16u        /* of one server */
/* Of one STORE_RANGE, FILL_RANGE, LOAD_RANGE, LOAD_COMMITTED, PROFILE_FILL. */
#define VMSRS_MAX_RANGE_BYTES 65536u
#define VMSRS_NAME_BYTES 32u         /* of a server's name, NUL included */
#define VMSRS_SECRET_BYTES 32u
#define VMSRS_USER_READER 1u           /* USER_BEGIN: this user only reads */
#define VMSRS_USER_KEEP 1u             /* USER_END: the thread goes on with the slot's next user */
#define VMSRS_USER_UNWOUND 2u          /* USER_END: the thread was taken to its scope's end */
#define VMSRS_PROFILE_EAGER 1u         /* PROFILE...: restored at the crash, for plain loads */
#define VMSRS_CRASH_UNRESTORED 1u      /* USER_CRASH: leave eager regions to the collection */
#define VMSRS_CRASH_TRACED 2u          /* USER_CRASH: RDI points to a vmsrs_crash */
/* PROFILE_FIND's RDX: number, granule and kind of a region. */
#define VMSRS_FOUND_REGION(found) ((found)&0xffu)
#define VMSRS_FOUND_GRANULE(found) ((found) >> 8 & 0xffu)
#define VMSRS_FOUND_CLAIMS (1u << 16) /* it has claims */
#define VMSRS_STORE_WRITE_SET_FULL 1u /* STORE...: the caller cannot claim the granule */
#define VMSRS_STORE_IF_EQUAL 2u /* STORE: only if R9 is there; RDX: 1 it is not, RSI: what is */
#define VMSRS_EVERY_USER (~0ull) /* DRAIN: the windows of all users */
#define VMSRS_HASH_BYTES 32u   /* SHA-256 */
#define VMSRS_LABEL_BYTES 64u  /* of a user's label, at most */
#define VMSRS_TRACE_FRAMES 8u  /* return addresses of a crash, at most */
#define VMSRS_RECENT_USERS 64u /* collected users remembered for MGMT_USERS, per server */

/* ---- Windows: what the hypervisor writes and a server can only read
 * ------------------------------ One window of five pages a server: a status page, then two words for
 * each user slot. */

#define VMSRS_WINDOW_PAGES 5u
#define VMSRS_WINDOW_BYTES (VMSRS_WINDOW_PAGES * VMSRS_PAGE_BYTES)
#define VMSRS_WINDOW_MAGIC 0x31575352534d56ull /* "VMSRSW1" */

/* Mode word: bit 0 = suppression, bits 1.. = epoch, which rises at every change. */
#define VMSRS_MODE_SUPPRESSION 1ull

/* User word: bits 0..1 = enum vmsrs_user_state, bits 2.. = generation of the slot. */
enum vmsrs_user_state {
  VMSRS_USER_FREE = 0, /* no thread has the slot; its last user may have still to be collected */
  VMSRS_USER_ACTIVE = 1,
  VMSRS_USER_CRASHED = 2,
  VMSRS_USER_STUCK = 3 /* crashed, and could not be brought to its end point or out of a store */
};

/* What management wants done about faults of a server's users that have not crashed yet. The library
 * does it; with OWN, what its process says. */
enum vmsrs_server_containment {
  VMSRS_SERVER_OWN = 0,
  VMSRS_SERVER_CONTAIN = 1,
  VMSRS_SERVER_OBSERVE = 2,
  VMSRS_SERVER_OFF = 3
};

struct vmsrs_status_page {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t server;
  uint64_t mode;
  uint64_t service_request; /* rises when a thread of the server shall make VMSRS_CALL_SERVICE */
  uint64_t processes; /* 1: more than one has been attached since the first; only the last one's end
                         takes it back */
  uint64_t service_taken;   /* the request that the engine sees to itself */
  uint32_t containment;     /* enum vmsrs_server_containment */
  uint8_t reserved[12];
  uint64_t freed; /* rises before a tag that named an owner becomes UNOWNED; a line of its own */
  uint8_t reserved2[4024];
};

struct vmsrs_window {
  struct vmsrs_status_page status;
  uint64_t users[VMSRS_MAX_USERS];
  /* The epoch from which the slot's user counts as crashed; 0: it does not. A user is crashed as of a
   * mode word with at least that epoch. */
  uint64_t crash_epochs[VMSRS_MAX_USERS];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_status_page) == VMSRS_PAGE_BYTES, "one page");
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_window) == VMSRS_WINDOW_BYTES, "five pages");
VMSRS_STATIC_ASSERT(offsetof(struct vmsrs_status_page, mode) == 16, "layout");
VMSRS_STATIC_ASSERT(offsetof(struct vmsrs_status_page, service_request) == 24, "layout");
VMSRS_STATIC_ASSERT(offsetof(struct vmsrs_status_page, processes) == 32, "layout");
VMSRS_STATIC_ASSERT(offsetof(struct vmsrs_status_page, freed) == 64, "layout");

/* Marks the pages of the windows image before the hypervisor has taken them over. */
#define VMSRS_WINDOW_MARK "VMSRS-WINDOW-PG" /* 16 bytes with its NUL */
struct vmsrs_window_mark {
  char mark[16];
  uint32_t server;
  uint32_t page;
  uint64_t reserved;
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_window_mark) == 32, "layout");

/* ---- Structures passed by address
 * ---------------------------------------------------------------- */

enum vmsrs_isolation {
  VMSRS_ISOLATION_HYPERVISOR = 1,
  VMSRS_ISOLATION_PROCESS = 2,
  VMSRS_ISOLATION_NONE = 3 /* tests only */
};

/* ATTACH. */
struct vmsrs_attach_request {
  char name[VMSRS_NAME_BYTES];
  uint8_t secret[VMSRS_SECRET_BYTES];
  uint32_t abi_version;
  uint32_t process_id; /* as the server's Linux calls it; for lists and for reaping */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_attach_request) == 72, "layout");

/* What a fault was; FAULT_NONE where there was none. The closed set of the metrics' label. */
enum vmsrs_fault_kind {
  VMSRS_FAULT_NONE = 0,
  VMSRS_FAULT_WILD = 1, /* access to an unmapped or forbidden address */
  VMSRS_FAULT_NULL = 2, /* the same below 64 KiB */
  VMSRS_FAULT_NON_CANONICAL = 3,
  VMSRS_FAULT_BUS = 4,
  VMSRS_FAULT_ARITHMETIC = 5,
  VMSRS_FAULT_ILLEGAL = 6,
  VMSRS_FAULT_ABORT = 7,
  VMSRS_FAULT_CHECK = 8,   /* a check of the library or of the program failed */
  VMSRS_FAULT_STORAGE = 9, /* recovery storage full, policy refuse */
  VMSRS_FAULT_STACK = 10,  /* stack overflow */
  VMSRS_FAULT_OPERATOR = 11, /* declared crashed by management */
  VMSRS_FAULT_KIND_COUNT = 12
};

/* USER_CRASH. */
struct vmsrs_fault {
  uint32_t kind; /* enum vmsrs_fault_kind */
  uint32_t thread_id;
  uint64_t address;
  uint64_t instruction;
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_fault) == 24, "layout");

/* USER_CRASH with VMSRS_CRASH_TRACED: what else its thread knows of it. */
struct vmsrs_crash {
  struct vmsrs_fault fault;
  uint32_t trace_count;
  uint32_t label_bytes;               /* 0: nothing is said of its label */
  uint64_t trace[VMSRS_TRACE_FRAMES]; /* return addresses, that of the innermost frame first */
  uint8_t label_text[VMSRS_LABEL_BYTES];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_crash) == 160, "layout");

enum vmsrs_capability { VMSRS_OBSERVE = 1, VMSRS_OPERATE = 2 };

/* What happens to a store for which there is no recovery storage left. */
enum vmsrs_storage_policy {
  VMSRS_STORAGE_REFUSE = 0,     /* NO_STORAGE: its user crashes, and is contained */
  VMSRS_STORAGE_UNPROTECTED = 1 /* it is carried out and committed at once, and counted */
};

/* MGMT_DEFINE: a server that may attach. */
struct vmsrs_server_definition {
  char name[VMSRS_NAME_BYTES];
  uint8_t secret_hash[VMSRS_HASH_BYTES];
  uint64_t storage_quota_bytes; /* hidden memory; 0 = no limit */
  uint32_t user_quota;          /* unfinished users; 0 = VMSRS_MAX_USERS */
  uint32_t storage_policy;      /* enum vmsrs_storage_policy */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_server_definition) == 80, "layout");

/* What keeps devices (DMA) from hidden memory. */
enum vmsrs_devices {
  VMSRS_DEVICES_UNKNOWN = 0,  /* not this platform's to say */
  VMSRS_DEVICES_CONFINED = 1, /* an IOMMU */
  VMSRS_DEVICES_FREE = 2      /* nothing: who drives a device can change hidden memory */
};

/* Which ends of its guest the hypervisor recognises: bits. */
enum vmsrs_guest_watch {
  VMSRS_WATCH_ENDS = 1,  /* shutdown, and resets by ports */
  VMSRS_WATCH_PANIC = 2, /* there is a panic device; whether the guest uses it is the guest's */
  VMSRS_WATCH_HANG = 4
};

/* MGMT_STATS: a snapshot of the host's counters (each counter exact, not all of one instant). */
struct vmsrs_stats {
  uint32_t abi_version;
  uint32_t isolation; /* enum vmsrs_isolation */
  uint32_t cpu_count;
  uint32_t server_count; /* defined */
  uint64_t uptime_ns;
  uint64_t hidden_bytes;  /* all memory out of the guest's reach, recovery storage included */
  uint64_t storage_bytes; /* recovery storage */
  uint64_t storage_used_bytes;
  uint64_t hidden_access_count; /* the guest's and its devices' to hidden memory, refused */
  uint64_t window_write_count;  /* guest writes to a window, refused */
  uint64_t denied_call_count;   /* calls refused for want of secret or capability */
  uint64_t refused_call_count;  /* calls refused for their arguments */
  uint64_t faults[VMSRS_FAULT_KIND_COUNT];
  uint64_t devices; /* enum vmsrs_devices */
  uint64_t cycles_per_second; /* of the counter that MGMT_EXITS counts by; 0: not known */
  uint32_t guest_start; /* how often the guest has been started, this time included; 0: not known here */
  uint32_t guest_watch; /* enum vmsrs_guest_watch */
  uint64_t hold_count;  /* times that a crash held the other processors (eager regions) */
  uint64_t hold_cycles; /* for how long in all, of the same counter */
  uint32_t engine_abandoned; /* 1: NO_ENGINE is what most calls answer; the counts are the last ones */
  uint32_t lost_event_count; /* events for which there was no room */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_stats) == 16 + 8 * 8 + 8 * 12 + 48, "layout");

/* MGMT_EXITS: exits of one CPU by reason. */
enum vmsrs_exit_reason {
  VMSRS_EXIT_VMMCALL = 0,
  VMSRS_EXIT_CPUID = 1,
  VMSRS_EXIT_MSR = 2,
  VMSRS_EXIT_NESTED_PAGE_FAULT = 3,
  VMSRS_EXIT_APIC = 4,
  VMSRS_EXIT_NMI = 5,
  VMSRS_EXIT_INIT = 6,
  VMSRS_EXIT_SVM_INSTRUCTION = 7,
  VMSRS_EXIT_INTERRUPT = 8,
  VMSRS_EXIT_OTHER = 9,
  VMSRS_EXIT_REASON_COUNT = 10
};
struct vmsrs_exits {
  uint32_t cpu;
  uint32_t reserved;
  uint64_t count[VMSRS_EXIT_REASON_COUNT];
  uint64_t cycles[VMSRS_EXIT_REASON_COUNT]; /* TSC, from exit to the next entry */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_exits) == 168, "layout");

/* MGMT_LOG: a line of the hypervisor's own log. */
enum vmsrs_log_level { VMSRS_LOG_INFO = 0, VMSRS_LOG_WARNING = 1, VMSRS_LOG_ERROR = 2 };
#define VMSRS_LOG_TEXT_BYTES 232u
struct vmsrs_log_line {
  uint64_t sequence; /* from 1 on; the oldest are overwritten */
  uint64_t time_ns;  /* on the clock of uptime_ns; 0: before that ran */
  uint32_t cpu;      /* as in MGMT_EXITS */
  uint16_t level;    /* enum vmsrs_log_level */
  uint16_t length;   /* of the text, which has no end mark; a longer one is cut off */
  char text[VMSRS_LOG_TEXT_BYTES];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_log_line) == 256, "layout");

/* MGMT_MEMORY: physical memory that is not Linux's, or not Linux's alone. */
enum vmsrs_memory_use {
  VMSRS_MEMORY_IMAGE = 1,   /* the hypervisor's code and data */
  VMSRS_MEMORY_OWN = 2,     /* its tables and stacks */
  VMSRS_MEMORY_STORAGE = 3, /* recovery storage */
  VMSRS_MEMORY_WINDOWS = 4, /* Linux may read it */
  VMSRS_MEMORY_IOMMU = 5    /* registers of an IOMMU */
};
struct vmsrs_memory_range {
  uint64_t begin, end;
  uint32_t use; /* enum vmsrs_memory_use */
  uint32_t reserved;
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_memory_range) == 24, "layout");
#define VMSRS_MAX_MEMORY_RANGES 32u

/* MGMT_GUEST_ENDS: an operating system that came to its end without an announcement. */
enum vmsrs_guest_end_kind {
  VMSRS_GUEST_SHUTDOWN = 1, /* triple fault */
  VMSRS_GUEST_PANIC = 2,    /* its kernel said so */
  VMSRS_GUEST_RESET = 3,    /* it reset the machine */
  VMSRS_GUEST_HANG = 4,     /* no CPU took interrupts */
  VMSRS_GUEST_END_KIND_COUNT = 5
};
#define VMSRS_GUEST_ENDS_KEPT 8u
struct vmsrs_guest_end {
  uint64_t sequence; /* from 1 on; the oldest are overwritten */
  uint64_t time_ns;  /* on the clock of uptime_ns */
  uint32_t kind;     /* enum vmsrs_guest_end_kind */
  uint32_t cpu;      /* that came to it, as in MGMT_EXITS */
  uint32_t start;    /* which start of the guest it was that ended: 1 = the first */
  uint32_t cpu_count;
  uint64_t detail;       /* PANIC: the event; RESET: the port, 32 bits, and what was written to it */
  uint64_t log_sequence; /* of the last line of the log before */
  uint32_t counts[8];    /* ends since the hypervisor's start by kind, this one included */
  uint64_t boot;         /* as in vmsrs_event */
  uint64_t reserved;
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_guest_end) == 96, "layout");

/* MGMT_GUEST_CPU: a CPU at that end. */
enum vmsrs_guest_cpu_state {
  VMSRS_GUEST_CPU_HELD = 1,  /* as it was at the end */
  VMSRS_GUEST_CPU_WAITS = 2, /* not started: nothing in its registers means anything */
  VMSRS_GUEST_CPU_LOST = 3   /* it did not answer: as it was at its last exit */
};
struct vmsrs_guest_cpu {
  uint32_t cpu;
  uint32_t state; /* enum vmsrs_guest_cpu_state */
  uint32_t privilege_level;
  uint32_t cs;
  uint64_t rip, rsp, rflags;
  uint64_t cr0, cr2, cr3, cr4, efer;
  uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8_to_r15[8];
  uint64_t exit_code, exit_info1, exit_info2; /* of its last exit (APM volume 2, appendix C) */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_guest_cpu) == 224, "layout");

/* MGMT_SERVER. */
struct vmsrs_server_info {
  char name[VMSRS_NAME_BYTES];
  uint32_t server;
  uint32_t attached; /* 1 = yes */
  uint32_t process_id; /* of the first process; 0: none is attached */
  uint32_t region_count;
  uint64_t region_bytes;
  uint64_t storage_used_bytes;
  uint64_t mode;          /* as in the status page */
  uint32_t active_users;  /* unfinished, not crashed */
  uint32_t crashed_users; /* not yet collected, stuck ones included */
  uint32_t stuck_users;
  uint32_t kept_region_count;         /* named regions of a process that has died */
  uint64_t oldest_suppression_age_ns; /* 0 = nobody is suppressed */
  uint64_t suppression_ns;            /* time in suppression mode, a running interval included */
  uint64_t faults[VMSRS_FAULT_KIND_COUNT];
  uint64_t user_count; /* begun */
  uint64_t finished_count;
  uint64_t collected_count;
  uint64_t store_count;
  uint64_t load_count;             /* loads that trapped */
  uint64_t suppressed_store_count; /* stores of crashed users that were dropped */
  uint64_t demand_restore_count;   /* granules restored because somebody read or wrote them */
  uint64_t collect_restore_count;  /* granules restored at collection */
  uint64_t restore_cycles;
  uint64_t suppression_count;         /* suppression intervals that have ended */
  uint64_t suppression_histogram[12]; /* of ended users by duration: VMSRS_SUPPRESSION_BUCKETS_MS */
  uint64_t ended_suppression_ns;      /* sum over those */
  uint64_t contended_granules;        /* granules with records of more than one user, now */
  uint64_t record_count;              /* records, now */
  uint64_t no_storage_count;    /* calls that were refused for want of storage */
  uint64_t sweep_restore_count; /* granules restored that nobody owned: changed behind the library */
  uint64_t unprotected_store_count; /* stores that went on without: VMSRS_STORAGE_UNPROTECTED */
  uint64_t kept_bytes;              /* size of the kept regions */
  uint64_t crash_restore_count;     /* granules restored by the crash's own call: eager regions */
  uint32_t eager_region_count;      /* of region_count */
  uint32_t process_count;           /* attached */
  uint64_t exposed_user_count; /* users seen to have read from one that then crashed */
  uint32_t process_ids[VMSRS_MAX_PROCESSES]; /* of all that are attached, the first one first */
  uint32_t containment; /* enum vmsrs_server_containment */
  uint32_t quarantined_free_count; /* REPORT_HEAPS, of all processes */
  uint32_t reserved[2];
};
/* Upper bounds, in ms, of suppression_histogram's first 11 buckets; the twelfth has none. */
#define VMSRS_SUPPRESSION_BUCKETS_MS \
  { 1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 60000, 300000 }
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_server_info) ==
                        48 + 24 + 16 + 16 + 8 * 12 + 8 * 10 + 8 * 12 + 8 * 4 + 24 + 24 +
                            4 * VMSRS_MAX_PROCESSES + 16,
                    "layout");

/* MGMT_USERS: users under suppression, active ones and the recently collected. */
struct vmsrs_user_info {
  uint32_t server;
  uint32_t slot;
  uint64_t generation;
  uint64_t label; /* the number that USER_BEGIN was given */
  uint32_t state; /* enum vmsrs_user_state; FREE = collected */
  uint32_t fault_count;
  struct vmsrs_fault fault; /* the first one */
  uint64_t begin_age_ns;
  uint64_t crash_age_ns;  /* 0 = not crashed */
  uint64_t suppressed_ns; /* until collection, or until now */
  uint64_t suppressed_store_count;
  uint64_t restore_count; /* granules of this user's that were restored */
  uint64_t record_count;  /* records it holds, now: one or more for each granule it wrote */
  uint32_t exposed;       /* 1: it was seen to read from a user that then crashed */
  uint32_t label_bytes;   /* of what MGMT_LABEL gives; 0: it has no label */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_user_info) == 112, "layout");

/* MGMT_REGIONS: a region of a server. */
enum vmsrs_region_state {
  VMSRS_REGION_KEPT = 1,    /* named, and no process has it: its mirror waits for one */
  VMSRS_REGION_FILLING = 2, /* not protected yet */
  VMSRS_REGION_LIVE = 3,
  VMSRS_REGION_LEAVING = 4 /* its last process has died: it goes, or is kept, piece by piece */
};
#define VMSRS_REGION_CLAIMS 1u /* it has claims; else every store is a call */
#define VMSRS_REGION_EAGER 2u  /* VMSRS_PROFILE_EAGER */
struct vmsrs_region_info {
  char name[VMSRS_NAME_BYTES]; /* empty: it has none */
  uint32_t region;             /* its number; free for another region once this one is gone */
  uint32_t state;              /* enum vmsrs_region_state */
  uint64_t bytes;
  uint64_t filled_bytes; /* while it is being filled: how far that is; KEPT: 0 */
  uint32_t granule_bytes;
  uint32_t flags; /* VMSRS_REGION_... */
  uint32_t process_count; /* that have it */
  uint32_t process_id;    /* of the first of them to attach; 0: none has it */
  uint64_t address;       /* in that process; 0: none has it */
  uint64_t record_count;
  uint32_t mirror_pages; /* of hidden memory */
  uint32_t head_pages;   /* the same, for finding the records of a granule */
  uint64_t restore_count; /* granules restored since it was profiled, each time counted */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_region_info) == 104, "layout");

/* MGMT_REGION_MAP: where in a region something is going on. */
#define VMSRS_MAP_BUCKETS 128u
#define VMSRS_MAP_HIDDEN_ONLY 1u /* no thread could be asked for the claims: only records count */
#define VMSRS_MAP_UNREADABLE 2u  /* some claims could not be read: of their granules only records */
struct vmsrs_map_bucket {
  uint32_t granules;  /* in it */
  uint32_t owned;     /* that an unfinished user, crashed or not, has by a claim or by a record */
  uint32_t recorded;  /* with records, or frozen; of these: */
  uint32_t contended; /* with records of more than one user */
  uint64_t restored;  /* granules restored since the region was profiled, each time counted */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_map_bucket) == 24, "layout");
struct vmsrs_region_map {
  uint32_t region;
  uint32_t bucket_count;
  uint64_t bucket_granules; /* of each bucket but the last, which may have fewer */
  uint32_t is_taken;        /* 0: owned, recorded and contended say nothing, for nobody has looked yet */
  uint32_t flags;           /* VMSRS_MAP_... */
  uint64_t age_ns;          /* since the look at them ended; restored is of now */
  uint64_t duration_ns;     /* of that look */
  struct vmsrs_map_bucket buckets[VMSRS_MAP_BUCKETS];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_region_map) == 40 + 24 * VMSRS_MAP_BUCKETS, "layout");

/* MGMT_RECORDS: what one user wrote into one granule, and has not finished. */
#define VMSRS_EVERY_REGION (~0ull)
#define VMSRS_RECORD_VALUES 1u /* recorded_bytes and committed_bytes are given */
struct vmsrs_record_info {
  uint64_t sequence; /* of the server's records: the newer the higher */
  uint64_t generation;
  uint64_t mask; /* bytes written, bit i: byte i; 0: the granule is frozen for this user */
  uint32_t region;
  uint32_t granule;
  uint32_t slot;  /* of the user */
  uint32_t state; /* of the user, enum vmsrs_user_state */
  uint32_t granule_bytes;
  uint32_t flags;               /* VMSRS_RECORD_... */
  uint8_t recorded_bytes[64];   /* those of the mask; the others are 0 */
  uint8_t committed_bytes[64];  /* of the whole granule */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_record_info) == 176, "layout");

/* MGMT_EVENTS: what has happened, in the order in which the engine came to know of it. */
enum vmsrs_event_type {
  VMSRS_EVENT_CRASH = 1,             /* a user counts as crashed since time_ns */
  VMSRS_EVENT_SUPPRESSION_BEGAN = 2, /* of a server, by this user's crash */
  VMSRS_EVENT_SUPPRESSION_ENDED = 3, /* with what was done in it, the server's sweeps included */
  VMSRS_EVENT_STUCK = 4,
  VMSRS_EVENT_UNWOUND = 5, /* the crashed user's thread was taken to the end of its scope */
  VMSRS_EVENT_COLLECTED = 6,
  VMSRS_EVENT_DENIED = 7,       /* calls that were refused for want of secret or capability */
  VMSRS_EVENT_STORAGE_FULL = 8, /* calls that were refused for want of storage */
  VMSRS_EVENT_UNPROTECTED = 9,  /* stores that went on without: VMSRS_STORAGE_UNPROTECTED */
  VMSRS_EVENT_ATTACHED = 10,
  VMSRS_EVENT_DETACHED = 11,
  VMSRS_EVENT_REAPED = 12, /* a process that has died */
  VMSRS_EVENT_LOST = 13,   /* events for which there was no room */
  VMSRS_EVENT_TYPE_COUNT = 14
};
/* Why granules were restored: index of vmsrs_event.restored. */
enum vmsrs_restore_cause {
  VMSRS_RESTORED_DEMAND = 0,     /* somebody read or wrote them */
  VMSRS_RESTORED_CRASH = 1,      /* by the crash's own call: eager regions */
  VMSRS_RESTORED_COLLECTION = 2,
  VMSRS_RESTORED_SWEEP = 3, /* nobody owned them: changed behind the library */
  VMSRS_RESTORE_CAUSE_COUNT = 4
};
#define VMSRS_EVENTS_KEPT 4096u
#define VMSRS_EVENT_NO_SERVER (~0u)
#define VMSRS_EVENT_NO_USER 0xffffu /* in slot: the event is of no one user */
/* What an event does not have is 0. */
struct vmsrs_event {
  uint64_t sequence; /* from 1 on, without a gap */
  uint64_t boot;     /* drawn at the hypervisor's start; not 0, below 2^63 */
  uint64_t time_ns;  /* on the clock of uptime_ns; of several: of the first */
  /* ENDED: of the interval; COLLECTED: since the crash; of several: from the first to the last. */
  uint64_t duration_ns;
  uint16_t type;        /* enum vmsrs_event_type */
  uint8_t trace_count;  /* CRASH */
  uint8_t label_bytes;  /* of label_text, as it is known by then */
  uint32_t server;      /* or VMSRS_EVENT_NO_SERVER */
  uint32_t process_id;  /* of the user's process, if that is there; of who made the last call */
  uint16_t slot;        /* of the user, or VMSRS_EVENT_NO_USER */
  uint8_t exposed;      /* 1: the user was seen to read from one that then crashed */
  uint8_t reserved;
  uint64_t generation;
  uint64_t label;           /* the number that USER_BEGIN was given */
  struct vmsrs_fault fault; /* the user's first */
  /* DENIED, STORAGE_FULL, UNPROTECTED, LOST: how many this is; COLLECTED: granules of the user's
   * that were restored; ENDED: users that were collected; ATTACHED: processes of the server that
   * were there before; REAPED: unfinished users of the process. */
  uint64_t count;
  uint16_t call;   /* DENIED: the last one's enum vmsrs_call... */
  uint16_t status; /* ...and what it was answered */
  uint32_t fault_count;                         /* of the user, so far */
  uint64_t suppressed_store_count;              /* COLLECTED: of the user; ENDED: of all */
  uint32_t restored[VMSRS_RESTORE_CAUSE_COUNT]; /* ENDED: granules, by cause */
  uint64_t trace[VMSRS_TRACE_FRAMES];           /* as in vmsrs_crash */
  uint8_t label_text[VMSRS_LABEL_BYTES];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_event) == 256, "layout");

/* MGMT_WORK: what the engine has done for a server since its definition. */
#define VMSRS_RESTORE_BUCKETS 10
/* Upper bounds, in ns, of restore_histogram's first 9 buckets; the tenth has none. */
#define VMSRS_RESTORE_BUCKETS_NS \
  { 250, 500, 1000, 2500, 5000, 10000, 25000, 100000, 1000000 }
#define VMSRS_LIBRARY_CALLS 64
struct vmsrs_server_work {
  /* Restored granules by how long one took, for each enum vmsrs_restore_cause; where a call restored
   * several, its time over their number. SWEEP is counted in vmsrs_server_info only: nobody waits
   * for a sweep. */
  uint64_t restore_histogram[VMSRS_RESTORE_CAUSE_COUNT][VMSRS_RESTORE_BUCKETS];
  uint64_t restore_cycles[VMSRS_RESTORE_CAUSE_COUNT]; /* of those calls' work; cycles_per_second */
  uint64_t calls[VMSRS_LIBRARY_CALLS]; /* of attached processes, by number - VMSRS_CALL_ATTACH */
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_server_work) ==
                        8 * VMSRS_RESTORE_CAUSE_COUNT * (VMSRS_RESTORE_BUCKETS + 1) +
                            8 * VMSRS_LIBRARY_CALLS,
                    "layout");

/* MGMT_CHECK: SEMANTICS of each invariant: docs/invariants.md. */
enum vmsrs_invariant {
  VMSRS_CHECK_HIDDEN = 0,
  VMSRS_CHECK_STORAGE = 1,
  VMSRS_CHECK_CHAINS = 2,
  VMSRS_CHECK_USERS = 3,
  VMSRS_CHECK_MIRROR = 4,
  VMSRS_CHECK_COLLECTED = 5,
  VMSRS_CHECK_ACCOUNTING = 6,
  VMSRS_CHECK_WINDOWS = 7,
  VMSRS_CHECK_COUNT = 8
};
enum vmsrs_verdict {
  VMSRS_VERDICT_OK = 0,
  VMSRS_VERDICT_VIOLATED = 1,
  VMSRS_VERDICT_PENDING = 2,    /* a thread of a server has still to look at its memory */
  VMSRS_VERDICT_UNVERIFIED = 3, /* nobody could look (no answer from the server) */
  VMSRS_VERDICT_UNPROTECTED = 4 /* it holds, but a server has run without recovery data */
};
/* Detail of VMSRS_CHECK_HIDDEN: devices are free (enum vmsrs_devices), or an IOMMU is off. */
#define VMSRS_DETAIL_DEVICES_FREE (~(uint64_t)0)
/* The same where it holds: nobody has seen yet that this processor stops an INIT that a device sends. */
#define VMSRS_DETAIL_INIT_UNVERIFIED (~(uint64_t)0 - 1)
struct vmsrs_check_result {
  uint32_t verdict; /* enum vmsrs_verdict */
  uint32_t server;  /* where it was violated first, or unprotected */
  uint64_t examined_count;
  uint64_t violation_count;
  uint64_t detail; /* granule offset, slot or frame of the first violation; unprotected stores */
};
struct vmsrs_check_report {
  struct vmsrs_check_result results[VMSRS_CHECK_COUNT];
};
VMSRS_STATIC_ASSERT(sizeof(struct vmsrs_check_report) == 256, "layout");

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* VMSRS_ABI_H_ */
