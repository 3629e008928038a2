# SPDX-License-Identifier: Apache-2.0
# Warnings are errors in every target of ours: vmsrs_warnings carries the flags.
add_library(vmsrs_warnings INTERFACE)
target_compile_options(vmsrs_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor -Woverloaded-virtual>)
