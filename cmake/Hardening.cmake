# SPDX-License-Identifier: Apache-2.0
# For programs that talk to strangers. Not for the hypervisor, the engine and the library, which look at stacks
# and faults of their own.
add_library(vmsrs_hardened INTERFACE)
target_compile_options(vmsrs_hardened INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fstack-protector-strong>)
if(NOT VMSRS_SANITIZE)
  # Needs an optimising compiler.
  target_compile_definitions(vmsrs_hardened INTERFACE
    $<$<CONFIG:Release,RelWithDebInfo>:_FORTIFY_SOURCE=2>)
endif()
target_link_options(vmsrs_hardened INTERFACE -Wl,-z,relro,-z,now)
