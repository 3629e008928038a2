// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "microkernel.hpp"

// A server in this guest: ring 3 in an address space. Whatever goes wrong ends the case.

inline uint64_t address_of(const volatile void* at) { return reinterpret_cast<uint64_t>(at); }
void enter_address_space(const uint64_t* root);  // a top table

// A management channel of the present address space; close it by MGMT_CLOSE. Its token.
uint64_t open_management(uint64_t capabilities);

// SHA-256 of 32 zeroes, the secret of each server here.
extern const uint8_t kHashOfZeroes[32];
void define_server(const char* name);
// The present address space is that server's process, of that number.
void attach_server(const char* name, uint32_t process_id = 100);

// A library call, from ring 3: its status.
uint64_t call_from_ring3(Call& call);
// Until it does not ask to come again; then its results are in `call`.
void make(Call& call, uint64_t wanted, const char* what);
inline void make(Call&& call, uint64_t wanted, const char* what) { make(call, wanted, what); }

// Is a tick of tsc() an instruction (run-guest.py --icount)?
bool clock_counts_instructions();

void say(const char* what, uint64_t count);  // a line, decimal
