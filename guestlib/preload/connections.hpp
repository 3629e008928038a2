// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Which descriptors are connections of users: those that accept() has given, until they are closed.
// Any thread; async-signal-safe.
namespace vmsrs::preload {

// The socket that a crashed user's connection becomes; before the first user. False: errno says
// why.
bool make_dead_socket();

void note_accepted(int descriptor);
void note_listening(int descriptor);
void forget_connection(int descriptor);

// How many there were before, from 1 on; 0: it is none.
std::uint32_t connection_number(int descriptor);
// Would its input be a request: a connection's, or that there is a new one.
bool is_input_of_users(int descriptor);

// Ends the connection for good, and puts a socket in its place whose input is at its end and which
// takes nothing (EPIPE, without a signal): the program sees a client that has gone, and closes it
// when it likes.
void end_connection(int descriptor);

// Of this library: the program has not opened it, and may not close it.
bool is_librarys(int descriptor);
// The lowest one of them from `first` to `last`; -1: there is none.
int first_of_library(unsigned first, unsigned last);

}  // namespace vmsrs::preload
