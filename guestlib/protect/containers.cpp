// SPDX-License-Identifier: Apache-2.0
#include <vmsrs/protect.h>

#include <cstddef>
#include <list>
#include <map>
#include <unordered_map>
#include <utility>
#include <vmsrs/vmsrs.hpp>

// What of libstdc++'s containers is not in its headers, and so has no hooks: the links of lists,
// the balance of trees, the size at which a hash table grows. The linker's --wrap puts these in
// place of its own. Lists and trees: doubly linked circular lists and red-black trees as in Cormen,
// Leiserson, Rivest, Stein, Introduction to Algorithms, chapters 10 and 13; the header is the
// tree's parent of the root, and holds the root, the leftmost and the rightmost node.
namespace {

using Link = std::__detail::_List_node_base;
using Policy = std::__detail::_Prime_rehash_policy;
using Node = std::_Rb_tree_node_base;

template <typename T, typename U>
void set(T& word, U value) {
  if (vmsrs_is_in_region(&word, sizeof word))
    vmsrs::store(&word, static_cast<T>(value));
  else
    word = value;
}

// ---- Lists

void join(Link* before, Link* after) {
  set(before->_M_next, after);
  set(after->_M_prev, before);
}

// ---- Trees

bool is_red(const Node* node) { return node != nullptr && node->_M_color == std::_S_red; }

Node* Node::*side_of(const Node* node, const Node* parent) {
  return node == parent->_M_left ? &Node::_M_left : &Node::_M_right;
}
Node* Node::*other(Node* Node::*side) {
  return side == &Node::_M_left ? &Node::_M_right : &Node::_M_left;
}

void put_in_place(Node* of, Node* child, Node& header) {
  if (header._M_parent == of)
    set(header._M_parent, child);
  else
    set(of->_M_parent->*side_of(of, of->_M_parent), child);
}

// The child on `side` comes up in place of its parent.
void rotate_up(Node* parent, Node* Node::*side, Node& header) {
  Node* const child = parent->*side;
  Node* const inner = child->*other(side);
  set(parent->*side, inner);
  if (inner != nullptr) set(inner->_M_parent, parent);
  put_in_place(parent, child, header);
  set(child->_M_parent, parent->_M_parent);
  set(child->*other(side), parent);
  set(parent->_M_parent, child);
}

void insert_fixup(Node* node, Node& header) {
  while (node != header._M_parent && is_red(node->_M_parent)) {
    Node* parent = node->_M_parent;
    Node* const grandparent = parent->_M_parent;
    const auto side = side_of(parent, grandparent);
    Node* const uncle = grandparent->*other(side);
    if (is_red(uncle)) {
      set(parent->_M_color, std::_S_black);
      set(uncle->_M_color, std::_S_black);
      set(grandparent->_M_color, std::_S_red);
      node = grandparent;
      continue;
    }
    if (node == parent->*other(side)) {
      rotate_up(parent, other(side), header);
      std::swap(node, parent);
    }
    set(parent->_M_color, std::_S_black);
    set(grandparent->_M_color, std::_S_red);
    rotate_up(grandparent, side, header);
  }
  set(header._M_parent->_M_color, std::_S_black);
}

// `node`, which may be none, below `parent` lacks one black.
void erase_fixup(Node* node, Node* parent, Node& header) {
  while (node != header._M_parent && !is_red(node)) {
    const auto side = node == parent->_M_left ? &Node::_M_left : &Node::_M_right;
    Node* sibling = parent->*other(side);
    if (is_red(sibling)) {
      set(sibling->_M_color, std::_S_black);
      set(parent->_M_color, std::_S_red);
      rotate_up(parent, other(side), header);
      sibling = parent->*other(side);
    }
    if (!is_red(sibling->_M_left) && !is_red(sibling->_M_right)) {
      set(sibling->_M_color, std::_S_red);
      node = parent;
      parent = parent->_M_parent;
      continue;
    }
    if (!is_red(sibling->*other(side))) {
      set((sibling->*side)->_M_color, std::_S_black);
      set(sibling->_M_color, std::_S_red);
      rotate_up(sibling, side, header);
      sibling = parent->*other(side);
    }
    set(sibling->_M_color, parent->_M_color);
    set(parent->_M_color, std::_S_black);
    set((sibling->*other(side))->_M_color, std::_S_black);
    rotate_up(parent, other(side), header);
    break;
  }
  if (node != nullptr) set(node->_M_color, std::_S_black);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
extern "C" {

void __wrap__ZNSt8__detail15_List_node_base7_M_hookEPS0_(Link* self, Link* position) {
  Link* const before = position->_M_prev;
  join(before, self);
  join(self, position);
}
void __wrap__ZNSt8__detail15_List_node_base9_M_unhookEv(Link* self) {
  join(self->_M_prev, self->_M_next);
}
void __wrap__ZNSt8__detail15_List_node_base11_M_transferEPS0_S1_(Link* self, Link* first,
                                                                 Link* last) {
  if (self == last) return;
  Link* const end = last->_M_prev;
  Link* const before = self->_M_prev;
  join(first->_M_prev, last);
  join(before, first);
  join(end, self);
}
void __wrap__ZNSt8__detail15_List_node_base10_M_reverseEv(Link* self) {
  Link* link = self;
  do {
    Link* const next = link->_M_next;
    set(link->_M_next, link->_M_prev);
    set(link->_M_prev, next);
    link = next;
  } while (link != self);
}
void __wrap__ZNSt8__detail15_List_node_base4swapERS0_S1_(Link& one, Link& two) {
  Link* const first[2] = {one._M_next, two._M_next};
  Link* const last[2] = {one._M_prev, two._M_prev};
  const bool empty[2] = {first[0] == &one, first[1] == &two};
  join(empty[1] ? &one : last[1], &one);
  join(&one, empty[1] ? &one : first[1]);
  join(empty[0] ? &two : last[0], &two);
  join(&two, empty[0] ? &two : first[0]);
}

std::size_t __real__ZNKSt8__detail20_Prime_rehash_policy11_M_next_bktEm(const Policy*, std::size_t);
std::size_t __wrap__ZNKSt8__detail20_Prime_rehash_policy11_M_next_bktEm(const Policy* self,
                                                                        std::size_t buckets) {
  Policy own = *self;
  const std::size_t next =
      __real__ZNKSt8__detail20_Prime_rehash_policy11_M_next_bktEm(&own, buckets);
  set(self->_M_next_resize, own._M_next_resize);
  return next;
}
std::pair<bool, std::size_t> __real__ZNKSt8__detail20_Prime_rehash_policy14_M_need_rehashEmmm(
    const Policy*, std::size_t, std::size_t, std::size_t);
std::pair<bool, std::size_t> __wrap__ZNKSt8__detail20_Prime_rehash_policy14_M_need_rehashEmmm(
    const Policy* self, std::size_t buckets, std::size_t elements, std::size_t more) {
  Policy own = *self;
  const auto needs = __real__ZNKSt8__detail20_Prime_rehash_policy14_M_need_rehashEmmm(
      &own, buckets, elements, more);
  if (own._M_next_resize != self->_M_next_resize) set(self->_M_next_resize, own._M_next_resize);
  return needs;
}

void __wrap__ZSt29_Rb_tree_insert_and_rebalancebPSt18_Rb_tree_node_baseS0_RS_(bool to_left,
                                                                              Node* node,
                                                                              Node* parent,
                                                                              Node& header) {
  set(node->_M_parent, parent);
  set(node->_M_left, nullptr);
  set(node->_M_right, nullptr);
  set(node->_M_color, std::_S_red);
  if (parent == &header) {
    set(header._M_parent, node);
    set(header._M_left, node);
    set(header._M_right, node);
  } else if (to_left) {
    set(parent->_M_left, node);
    if (parent == header._M_left) set(header._M_left, node);
  } else {
    set(parent->_M_right, node);
    if (parent == header._M_right) set(header._M_right, node);
  }
  insert_fixup(node, header);
}

Node* __wrap__ZSt28_Rb_tree_rebalance_for_erasePSt18_Rb_tree_node_baseRS_(Node* node,
                                                                          Node& header) {
  if (header._M_left == node)
    set(header._M_left,
        node->_M_right != nullptr ? Node::_S_minimum(node->_M_right) : node->_M_parent);
  if (header._M_right == node)
    set(header._M_right,
        node->_M_left != nullptr ? Node::_S_maximum(node->_M_left) : node->_M_parent);
  Node* below = node->_M_left == nullptr ? node->_M_right : node->_M_left;
  Node* above = node->_M_parent;
  bool black = !is_red(node);
  if (node->_M_left == nullptr || node->_M_right == nullptr) {
    put_in_place(node, below, header);
    if (below != nullptr) set(below->_M_parent, above);
  } else {
    Node* const next = Node::_S_minimum(node->_M_right);
    black = !is_red(next);
    below = next->_M_right;
    above = next->_M_parent == node ? next : next->_M_parent;
    if (above != next) {
      set(above->_M_left, below);
      if (below != nullptr) set(below->_M_parent, above);
      set(next->_M_right, node->_M_right);
      set(node->_M_right->_M_parent, next);
    }
    put_in_place(node, next, header);
    set(next->_M_parent, node->_M_parent);
    set(next->_M_left, node->_M_left);
    set(node->_M_left->_M_parent, next);
    set(next->_M_color, node->_M_color);
  }
  if (black && header._M_parent != nullptr) erase_fixup(below, above, header);
  return node;
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
