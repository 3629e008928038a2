// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "schedules/stage.hpp"

// How plays are written down.
namespace vmsrs::test::acts {

using K = Act::Kind;

inline constexpr Act begin{K::kBegin}, end{K::kEnd}, keep{K::kKeep}, crash{K::kCrash},
    serve{K::kServe}, scrub{K::kScrub}, hide_page{K::kHidePage}, come_to_last{K::kComeToLast},
    come_back{K::kComeBack};
constexpr Act store(std::size_t word) { return {K::kStore, word}; }
constexpr Act faulty_store(std::size_t word) { return {K::kFaultyStore, word}; }
constexpr Act load(std::size_t word) { return {K::kLoad, word}; }
constexpr Act load_committed(std::size_t word) { return {K::kLoadCommitted, word}; }
constexpr Act declare(std::size_t thread) { return {K::kDeclare, thread}; }
constexpr Act drain(std::size_t thread) { return {K::kDrain, thread}; }
constexpr Act report(std::size_t thread) { return {K::kReport, thread}; }
constexpr Act knock(std::size_t word) { return {K::kKnock, word}; }
constexpr Act come_again(std::size_t word) { return {K::kComeAgain, word}; }
constexpr Act fill(std::size_t word) { return {K::kFill, word}; }
constexpr Act damage(std::size_t granule) { return {K::kDamage, granule}; }
constexpr Act stale_tag(std::size_t granule) { return {K::kStaleTag, granule}; }
constexpr Act wild(std::size_t word) { return {K::kWild, word}; }

}  // namespace vmsrs::test::acts
