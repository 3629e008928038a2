# SPDX-License-Identifier: Apache-2.0
# vmsrs_protect(TARGET [FILE...]): protects the stores of an executable's own sources, or of these files
# of it only, without a change to them. Needs clang, 14 or later (CC=clang CXX=clang++).

# Each store is announced by a call that comes immediately before it; loads are left alone. What a
# store of the same place shortly before has announced is announced again: the place may have become
# another user's in between.
set(VMSRS_PROTECT_OPTIONS
  -fsanitize=kernel-address
  "SHELL:-mllvm -asan-instrument-reads=0"
  "SHELL:-mllvm -asan-instrumentation-with-call-threshold=0"
  "SHELL:-mllvm -asan-opt-same-temp=0"
  "SHELL:-mllvm -asan-opt-globals=0"
  "SHELL:-mllvm -asan-globals=0"
  "SHELL:-mllvm -asan-stack=0"
  -U_FORTIFY_SOURCE
  # Strings are built with the program, not taken from libstdc++.
  -D_GLIBCXX_EXTERN_TEMPLATE=0)

# Functions of the C library that write where the program says: memory_functions.cpp has their like.
set(VMSRS_WRAPPED memcpy memmove memset mempcpy strcpy stpcpy strncpy strcat strncat snprintf vsnprintf
  sprintf vsprintf read pread recv fread fgets)
# Of libstdc++: containers.cpp.
set(VMSRS_WRAPPED_CXX
  _ZNSt8__detail15_List_node_base7_M_hookEPS0_
  _ZNSt8__detail15_List_node_base9_M_unhookEv
  _ZNSt8__detail15_List_node_base11_M_transferEPS0_S1_
  _ZNSt8__detail15_List_node_base10_M_reverseEv
  _ZNSt8__detail15_List_node_base4swapERS0_S1_
  _ZNKSt8__detail20_Prime_rehash_policy11_M_next_bktEm
  _ZNKSt8__detail20_Prime_rehash_policy14_M_need_rehashEmmm
  _ZSt29_Rb_tree_insert_and_rebalancebPSt18_Rb_tree_node_baseS0_RS_
  _ZSt28_Rb_tree_rebalance_for_erasePSt18_Rb_tree_node_baseRS_)
list(TRANSFORM VMSRS_WRAPPED PREPEND "LINKER:--wrap=" OUTPUT_VARIABLE VMSRS_WRAP_OPTIONS)
list(TRANSFORM VMSRS_WRAPPED_CXX PREPEND "LINKER:--wrap=" OUTPUT_VARIABLE VMSRS_WRAP_OPTIONS_CXX)

function(vmsrs_protect target)
  foreach(language C CXX)
    if(CMAKE_${language}_COMPILER_LOADED AND NOT CMAKE_${language}_COMPILER_ID STREQUAL Clang)
      message(FATAL_ERROR "vmsrs_protect(${target}): the ${language} compiler is "
        "${CMAKE_${language}_COMPILER_ID}: it needs clang (configure with CC=clang CXX=clang++)")
    endif()
  endforeach()
  # Whoever calls this need not be where the file was included.
  include(${CMAKE_CURRENT_FUNCTION_LIST_FILE})
  if(ARGN)
    # Only a target's options know SHELL:, and only there is what stands twice left out.
    list(TRANSFORM VMSRS_PROTECT_OPTIONS REPLACE "^SHELL:" "")
    string(REPLACE " " ";" options "${VMSRS_PROTECT_OPTIONS}")
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS ${options})
  else()
    target_compile_options(${target} PRIVATE ${VMSRS_PROTECT_OPTIONS})
  endif()
  target_link_options(${target} PRIVATE ${VMSRS_WRAP_OPTIONS} ${VMSRS_WRAP_OPTIONS_CXX})
  target_link_libraries(${target} PRIVATE vmsrs::protect)
endfunction()
