// SPDX-License-Identifier: Apache-2.0
#pragma once

// The guest library, C++ interface: thin, typed, over <vmsrs/vmsrs.h>, whose conventions hold. No
// exceptions are thrown by it or needed for it, but for std::bad_alloc in <vmsrs/allocator.hpp>,
// which is not included here.
#include <vmsrs/vmsrs.h>

#include <vmsrs/access.hpp>
#include <vmsrs/pointer.hpp>
#include <vmsrs/scope.hpp>
#include <vmsrs/server.hpp>
#include <vmsrs/shared.hpp>
