#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What can be read off the hypervisor's image: sections and their rights, no heap, no recursion without a bound, and
the deepest stack there can be, against the stacks that there are.

    image_check.py ELF64 HOST_CPU_SOURCE     (hypervisor/boot/host_cpu.cpp, which has the stacks' size)

The call graph is that of the linked machine code. A frame is counted with all pushes and subtractions of its function,
whether one path meets them all or not. A call through a pointer goes to every function of every virtual table, or to
those that POINTERS names; a function whose address is taken and that is neither is an error.
"""
import re
import subprocess
import sys
from collections import defaultdict

# Who calls through a plain function pointer, and whom: parts of names.
POINTERS = {
    "recovery::Platform::recent_ns(": ["svm::SvmPlatform::now_ns("],  # no other platform is in the image
    "console::emit(": ["boot::show_line("],
    "console::give_up(": ["::parse("],  # a lambda of it: boot_natively
    "console::end_machine(": ["svm::stop_other_processors("],
    "svm::restart_guest(": ["::load_linux("],
    "host_run_afresh": [],  # what it calls begins with an empty stack: AFRESH
}
AFRESH = ("vmsrs::svm::run_guest(vmsrs::svm::Processor&)",
          "vmsrs::svm::(anonymous namespace)::handle_exit_without_engine(vmsrs::svm::Processor&)")
# What calls itself: part of the name, how often at most, why.
BOUNDED = {
    "svm::PageTable::set_level(": (4, "once for each level of the tables"),
    "boot::boot_natively(": (2, "give_up takes the fallback away before it calls it, so a problem there ends the machine"),
}
# What comes on top of all else: an interrupt or fault of the hypervisor's own.
INTERRUPTS = ("host_nmi_vector", "host_drain_vector", "host_security_vector", "host_fault_vectors")
INTERRUPT_FRAME = 64  # SS, RSP, RFLAGS, CS, RIP, error code, alignment
HEAP = ("malloc", "calloc", "realloc", "free", "operator new", "operator delete", "sbrk")
RIGHTS = {".text": "r-x", ".rodata": "r--", ".data": "rw-", ".bss": "rw-"}


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def short(name):
    return name.replace("(anonymous namespace)::", "").replace("vmsrs::", "").split("<")[0].split("(")[0].split()[-1]


def plain(name):
    """A function and the part of it that the compiler has put elsewhere are one."""
    return re.sub(r"\s*\[clone \.cold\]|\.cold$", "", name)


class Image:
    def __init__(self, path):
        self.path = path
        self.frames = defaultdict(int)
        self.calls = defaultdict(dict)  # caller: {callee: bytes on the stack for the return address}
        self.through_pointers = set()
        self.starts = {}  # address: function
        self.unknown_frames = set()
        self.immediates = set()
        # Of assembly language: what has no size is no function with an end.
        self.labels = {plain(name) for _, size, name in self.symbols() if size == 0}
        self._read_code()

    def _read_code(self):
        name, ends = None, True
        for line in output_of("objdump", "-d", "-C", "-w", "--no-show-raw-insn", "-j", ".text", self.path).splitlines():
            if match := re.match(r"([0-9a-f]+) <(.+)>:$", line):
                following = plain(match[2])
                if name in self.labels and not ends and following != name:  # one runs on into the next
                    self.calls[name].setdefault(following, 0)
                name, ends = following, True
                self.starts[int(match[1], 16)] = name
                self.frames[name] += 0
                continue
            if match := re.match(r"\s*[0-9a-f]+:\t(\S+)\s*(.*)", line):
                if "nop" not in line and "xchg   %ax,%ax" not in line and not name.startswith("multiboot"):
                    ends = self._read(name, match[1], match[2])

    def _read(self, name, operation, rest):
        """One instruction; does nothing come behind it?"""
        if operation in ("lock", "rep", "repz", "repnz", "notrack"):
            operation, _, rest = rest.partition(" ")
        if not operation.startswith("cmp"):  # a compiler's guess of a virtual function is compared
            self.immediates.update(int(number, 16) for number in re.findall(r"\$0x([0-9a-f]+)", rest))
        if operation.startswith("push"):
            self.frames[name] += 8
        elif operation.startswith(("sub", "add")) and rest.endswith(",%rsp"):
            match = re.match(r"\$0x([0-9a-f]+),", rest)
            if match:
                number = int(match[1], 16)
                taken = number - (1 << 64) if number >> 63 else number  # a compiler may add what is below zero
                self.frames[name] += max(taken if operation.startswith("sub") else -taken, 0)
            else:
                self.unknown_frames.add(name)
        elif operation.startswith("lea") and rest.endswith(",%rsp"):
            match = re.match(r"-0x([0-9a-f]+)\(%rsp\),", rest)
            self.frames[name] += int(match[1], 16) if match else 0
        elif operation.startswith(("call", "j")):
            pushed = 8 if operation.startswith("call") else 0
            if rest.startswith("*"):
                if re.match(r"\*0x[0-9a-f]+\(,%\w+,8\)", rest) is None:  # not a switch
                    self.through_pointers.add(name)
                    self.calls[name].setdefault("*", pushed)
            elif match := re.search(r"<(.+?)(\+0x[0-9a-f]+)?>$", rest):
                callee = plain(match[1])
                if callee != name or pushed:
                    self.calls[name][callee] = max(pushed, self.calls[name].get(callee, 0))
        return operation.startswith(("ret", "iret", "jmp", "ljmp", "ud2"))

    def words(self, section):
        """8-byte words of a section, and where they are."""
        for line in output_of("objdump", "-s", "-j", section, self.path).splitlines():
            if match := re.match(r" ([0-9a-f]+) ((?:[0-9a-f]{2,8} ?){1,4}) ", line):
                data = bytes.fromhex(match[2].replace(" ", ""))
                for at in range(0, len(data) - 7, 8):
                    yield int(match[1], 16) + at, int.from_bytes(data[at:at + 8], "little")

    def symbols(self):
        for line in output_of("nm", "-C", "-S", self.path).splitlines():
            if match := re.match(r"([0-9a-f]+) (?:([0-9a-f]+) )?(\S) (.+)$", line):
                yield int(match[1], 16), int(match[2] or "0", 16), match[4]


def matches(name, parts):
    return any(part in name for part in parts)


def resolve_pointers(image):
    """Replaces the calls through pointers; the problems."""
    tables = [(at, at + size) for at, size, name in image.symbols() if name.startswith("vtable for ")]
    virtual, taken = set(), {image.starts[number] for number in image.immediates if number in image.starts}
    for section in (".rodata", ".data"):
        for at, word in image.words(section):
            if word in image.starts:
                is_virtual = any(begin <= at < end for begin, end in tables)
                (virtual if is_virtual else taken).add(image.starts[word])
    named = [part for parts in POINTERS.values() for part in parts] + list(AFRESH)
    found = [f"unknown: who calls {name} through a pointer (POINTERS)" for name in sorted(taken - virtual)
             if not matches(name, named) and not name.startswith(("host_", "ap_", "entry", "hypervisor_", "read_msr",
                                                                 "sleep_", "image_", "enter_"))]
    for caller in image.through_pointers:
        pushed = image.calls[caller].pop("*")
        parts = next((parts for part, parts in POINTERS.items() if part in caller), None)
        for callee in virtual if parts is None else [name for name in image.starts.values() if matches(name, parts)]:
            image.calls[caller].setdefault(callee, pushed)
    if not virtual:
        found.append("no virtual table found: the call graph would be incomplete")
    return found


def cycles(calls, nodes):
    """Strongly connected components that call themselves (Tarjan's, without recursion)."""
    index, low, on_stack, stack, found, counter = {}, {}, set(), [], [], 0
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(calls.get(root, ())))]
        index[root] = low[root] = counter
        counter += 1
        stack.append(root), on_stack.add(root)
        while work:
            node, callees = work[-1]
            for callee in callees:
                if callee not in index:
                    index[callee] = low[callee] = counter
                    counter += 1
                    stack.append(callee), on_stack.add(callee)
                    work.append((callee, iter(calls.get(callee, ()))))
                    break
                if callee in on_stack:
                    low[node] = min(low[node], index[callee])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                        if member == node:
                            break
                    if len(component) > 1 or node in calls.get(node, ()):
                        found.append(component)
    return found


def depths(image, components):
    """Of each function: bytes of stack of the deepest chain of calls from it, and the next of that chain."""
    home = {name: number for number, component in enumerate(components) for name in component}
    rounds = {}
    for number, component in enumerate(components):
        rounds[number] = max((times for part, (times, _) in BOUNDED.items()
                              if any(part in name for name in component)), default=1)
    done = {}

    def below(name):
        """What a function, or the cycle that it is of, calls outside of it."""
        members = components[home[name]] if name in home else {name}
        return {(callee, pushed) for member in members for callee, pushed in image.calls[member].items()
                if callee not in members}

    def own(name):
        if name not in home:
            return image.frames[name]
        return rounds[home[name]] * sum(image.frames[each] + 8 for each in components[home[name]])

    for root in list(image.frames):
        work = [root]
        while work:
            name = work[-1]
            waiting = [callee for callee, _ in below(name) if callee not in done]
            if name in done or not waiting:
                work.pop()
                deepest, after = max(((done[callee][0] + pushed, callee) for callee, pushed in below(name)),
                                     default=(0, None))
                done.setdefault(name, (own(name) + deepest, after))
            else:
                work += waiting
    return done


def chain(done, name):
    names = []
    while name is not None:
        names.append(short(name))
        name = done[name][1]
    return " > ".join(names)


def check_sections(path):
    found, seen = [], {}
    listing = output_of("readelf", "-lW", path)
    segments = re.findall(r"^\s+LOAD\s+(?:0x[0-9a-f]+\s+){5}([R ][W ][E ])\s", listing, re.M)
    for number, rights in enumerate(segments):
        line = re.search(rf"^\s+0{number}\s+(.*)$", listing, re.M)
        for section in line[1].split():
            seen[section] = rights.lower().replace("e", "x").replace(" ", "-")
        if "W" in rights and "E" in rights:
            found.append(f"segment {number} is written and executed")
    for section, rights in RIGHTS.items():
        if seen.get(section) != rights:
            found.append(f"{section} is in a segment with {seen.get(section)}, expected {rights}")
    return found


def stack_bytes(image, source):
    names = {name: at for at, _, name in image.symbols()}
    boot = names["boot_stack_top"] - names["boot_stack_guard"] - 4096
    with open(source, encoding="utf-8") as file:
        match = re.search(r"kStackBytes = (\d+) << 10;", file.read())
    return {"entry64": boot, **{name: int(match[1]) << 10 for name in ("hypervisor_ap_main", *AFRESH)}}


def main():
    path, source = sys.argv[1:]
    image = Image(path)
    problems = check_sections(path)
    problems += [f"heap: {name}" for name in image.frames if re.match(rf"({'|'.join(HEAP)})\b", name)]
    problems += [f"a frame of unknown size: {name}" for name in image.unknown_frames]
    problems += resolve_pointers(image)
    recursive = cycles(image.calls, list(image.frames))
    for component in recursive:
        known = [part for part in BOUNDED if any(part in name for name in component)]
        names = ", ".join(sorted({short(name) for name in component}))
        if known:
            print(f"calls itself, at most {BOUNDED[known[0]][0]} times ({BOUNDED[known[0]][1]}): {names}")
        else:
            problems.append(f"recursion without a known bound (BOUNDED): {names}")
    if not problems:
        done = depths(image, recursive)
        worst = max(INTERRUPTS, key=lambda name: done[name][0])
        on_top = done[worst][0] + INTERRUPT_FRAME
        print(f"interrupt or fault: {on_top} bytes: {chain(done, worst)}")
        for entry, stack in stack_bytes(image, source).items():
            needed = done[entry][0] + on_top
            print(f"{short(entry)}: {done[entry][0]} bytes: {chain(done, entry)}")
            print(f"{short(entry)}: {needed} of {stack} bytes of stack, with a fault on top")
            if needed > stack:
                problems.append(f"{short(entry)}: the stack may overflow")
    print("\n".join(problems) or f"{len(image.frames)} functions; no heap, no recursion without a bound")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
