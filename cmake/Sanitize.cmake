# SPDX-License-Identifier: Apache-2.0
# VMSRS_SANITIZE=address,undefined or =thread instruments everything built for the host. The freestanding
# hypervisor is never instrumented: there is no run-time library below the guest.
set(VMSRS_SANITIZE "" CACHE STRING "Sanitizers for host builds, as -fsanitize takes them")
add_library(vmsrs_sanitize INTERFACE)
if(VMSRS_SANITIZE)
  target_compile_options(vmsrs_sanitize INTERFACE
    -fsanitize=${VMSRS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
  target_link_options(vmsrs_sanitize INTERFACE -fsanitize=${VMSRS_SANITIZE})
endif()
