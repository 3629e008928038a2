#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rights of the hypervisor's own pages, tried in the image that is shipped: QEMU's debugger stub stops it where it
enters the guest, and has it write, execute or read what it must not. Each try is a fresh boot.

    own_memory.py ELF64 -- run-guest.py OPTION...
"""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

RAX, RSI, RDX, RDI, RSP, RIP, CR3, CR4, EFER = 0, 4, 3, 5, 7, 16, 29, 30, 32  # as QEMU's stub numbers them
SMEP, SMAP, NXE = 1 << 20, 1 << 21, 1 << 11
ABSENT_WRITE, FORBIDDEN_READ, FORBIDDEN_WRITE, FORBIDDEN_FETCH = 2, 1, 3, 0x11  # page-fault codes
GUEST = 0x1000000  # where the guest's kernel is
STACK_BYTES, GUARD_BYTES = 64 << 10, 4096
STACK_TOP = 24  # of a Processor


class Stub:
    """A connection to the stub: it has stopped the machine."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 20
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)
        self.socket.settimeout(60)
        self.ask("qXfer:features:read:target.xml:0,1000")  # then it takes single registers, by that list

    def _byte(self):
        byte = self.socket.recv(1)
        if not byte:
            raise EOFError("the debugger stub is gone")
        return byte

    def _answer(self):
        while self._byte() != b"$":
            pass
        text = b""
        while (byte := self._byte()) != b"#":
            text += byte
        self._byte(), self._byte()
        self.socket.sendall(b"+")
        return text.decode()

    def send(self, text):
        self.socket.sendall(f"${text}#{sum(text.encode()) % 256:02x}".encode())

    def ask(self, text):
        self.send(text)
        answer = self._answer()
        # That the machine has stopped, for the connection's sake, may come at any time.
        while answer.startswith("T") and not (text == "c" and answer.startswith("T05")):
            answer = self._answer()
        if answer.startswith("E") or answer == "":
            raise ValueError(f"the debugger stub answers '{answer}' to '{text}'")
        return answer

    def register(self, number):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")

    def set_register(self, number, value):
        self.ask(f"P{number:x}={value.to_bytes(8, 'little').hex()}")

    def word(self, address):
        return int.from_bytes(bytes.fromhex(self.ask(f"m{address:x},8")), "little")

    def run_to(self, address):
        self.ask(f"Z1,{address:x},1")
        self.ask("c")
        self.ask(f"z1,{address:x},1")
        if (at := self.register(RIP)) != address:
            raise ValueError(f"stopped at {at:#x}, not at {address:#x}")


def symbols(image):
    listing = subprocess.run(["nm", "-C", image], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in listing.splitlines():
        address, _, name = line.split(" ", 2)
        found[name] = int(address, 16)
    return found


def call(function, to, source_or_value, count):
    """The next instruction is that function's first; it returns to where the guest is entered."""
    def act(stub):
        for number, value in ((RDI, to), (RSI, source_or_value), (RDX, count), (RIP, function)):
            stub.set_register(number, value(stub) if callable(value) else value)
    return act


def cases(names):
    """Name, what is done, the page fault's code and address (the latter a number or what gives it)."""
    def write(to):
        return call(names["memset"], to, 0, 8)

    def within(function, act):
        address = next(at for name, at in names.items() if name.startswith(f"vmsrs::svm::{function}("))

        def later(stub):
            stub.run_to(address)
            act(stub)
        return later

    def behind(function, act):
        def at_entry(stub):
            stub.run_to(names["vm_run"])
            act(stub)
        return within(function, at_entry)

    def execute(at):
        return lambda stub: stub.set_register(RIP, at)

    def own_stack(stub):
        first = stub.word(names["vmsrs::svm::processors"])
        return stub.word(first + STACK_TOP) - STACK_BYTES - GUARD_BYTES

    def table(stub):
        return stub.register(CR3)

    code = names["hypervisor_main"] & ~7
    yield "code written", write(code), FORBIDDEN_WRITE, code
    yield "constants written", write(names["image_constants"]), FORBIDDEN_WRITE, names["image_constants"]
    interrupts = names["vmsrs::boot::(anonymous namespace)::table"]
    yield "interrupt table written", write(interrupts), FORBIDDEN_WRITE, interrupts
    yield "page table written", write(table), FORBIDDEN_WRITE, table
    yield "data executed", execute(names["image_data"]), FORBIDDEN_FETCH, names["image_data"]
    yield "own memory executed", lambda stub: stub.set_register(RIP, own_stack(stub) + GUARD_BYTES), FORBIDDEN_FETCH, \
        lambda stub: own_stack(stub) + GUARD_BYTES
    yield "the guest's memory executed", execute(GUEST), FORBIDDEN_FETCH, GUEST
    yield "the guest's memory written", write(GUEST), FORBIDDEN_WRITE, GUEST
    read = call(names["memcpy"], names["image_data"], GUEST, 8)
    # Where the hypervisor has just been allowed to.
    for what in ("handle_vmmcall", "fetch_instruction", "handle_exception"):
        yield f"the guest's memory read behind {what}", behind(what, read), FORBIDDEN_READ, GUEST
    yield "data executed by a CPU that writes a line of the log", within("LogRing::add", execute(names["image_data"])), \
        FORBIDDEN_FETCH, names["image_data"]
    yield "page 0 written", write(0), ABSENT_WRITE, 0
    yield "the boot stack's guard written", write(names["boot_stack_guard"]), ABSENT_WRITE, names["boot_stack_guard"]
    yield "another stack's guard written", write(own_stack), ABSENT_WRITE, own_stack


def control_registers(stub):
    cr4, efer = stub.register(CR4), stub.register(EFER)
    missing = [name for name, register, bit in (("SMEP", cr4, SMEP), ("SMAP", cr4, SMAP), ("NXE", efer, NXE))
               if register & bit == 0]
    return f"not set: {', '.join(missing)}" if missing else None


def tried(command, names, act, folder):
    """The machine's output; what `act` gave."""
    path = os.path.join(folder, "stub")
    with subprocess.Popen([*command, "--device", f"gdb=unix:{path},server=on,wait=off"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as machine:
        try:
            stub = Stub(path)
            stub.run_to(names["vm_run"])
            given = act(stub)
            stub.send("D")
            output = machine.communicate(timeout=60)[0]
        finally:
            if machine.poll() is None:
                os.killpg(machine.pid, signal.SIGKILL)  # the runner and its machine, which a debugger may have stopped
    os.unlink(path) if os.path.exists(path) else None
    return output, given


def problem(command, names, act, code, address, folder):
    def acted(stub):
        where = address(stub) if callable(address) else address
        return act(stub), where
    output, (_, where) = tried(command, names, acted, folder)
    wanted = rf"the hypervisor faulted: vector 14 code {code:#x} at 0x[0-9a-f]+ stack 0x[0-9a-f]+ cr2 {where:#x}\b"
    if re.search(wanted, output):
        return None
    said = [line for line in output.splitlines() if "vmsrs:" in line] or ["nothing"]
    return f"expected a page fault with code {code:#x} at {where:#x}, the hypervisor said: {said[-1]}"


def overflow(command, names, folder):
    """A stack that runs into its guard: no handler has a place to stand on, so the processor shuts down. Nothing was
    overwritten, and nobody goes on."""
    def act(stub):
        stub.set_register(RSP, names["boot_stack_guard"] + GUARD_BYTES)
        stub.set_register(RIP, names["vm_run"])
    output, _ = tried(command, names, act, folder)
    if "the machine ended without a result" in output:
        return None
    return f"expected the machine's end, got: {output.splitlines()[-1] if output else 'nothing'}"


def main():
    image, command = sys.argv[1], sys.argv[sys.argv.index("--") + 1:]
    names = symbols(image)
    problems = 0

    def report(what, wrong):
        nonlocal problems
        print(f"{what}: {wrong or 'as it should be'}", flush=True)
        problems += wrong is not None

    with tempfile.TemporaryDirectory() as folder:
        seen = []
        for what, act, code, address in cases(names):
            if not seen:
                def act_and_look(stub, act=act):
                    seen.append(control_registers(stub))
                    act(stub)
                report(what, problem(command, names, act_and_look, code, address, folder))
                report("SMEP, SMAP and NXE", seen[0])
            else:
                report(what, problem(command, names, act, code, address, folder))
        report("a stack that overflows", overflow(command, names, folder))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
