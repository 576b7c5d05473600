// A list whose links live inside its members: joining and leaving allocate
// nothing, and a member that goes leaves by itself.

#pragma once

#include <utility>

namespace waterspout {

/// One place in one list at a time; unlinks itself when destroyed.
class ListHook {
 public:
  ListHook() noexcept = default;
  ~ListHook() { unlink(); }
  ListHook(const ListHook&) = delete;
  ListHook& operator=(const ListHook&) = delete;

  [[nodiscard]] bool linked() const noexcept { return next_ != this; }

  void unlink() noexcept {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = this;
    next_ = this;
  }

  /// Requires: not linked.
  void link_before(ListHook& other) noexcept {
    previous_ = other.previous_;
    next_ = &other;
    previous_->next_ = this;
    other.previous_ = this;
  }

  [[nodiscard]] ListHook* next() const noexcept { return next_; }

 private:
  ListHook* previous_ = this;
  ListHook* next_ = this;
};

/// A queue of T linked by T's base class Hook, which derives from ListHook and
/// tells T's lists apart. Owns nothing; outlives its members' stay.
template <class T, class Hook>
class IntrusiveList {
 public:
  [[nodiscard]] bool empty() const noexcept { return !head_.linked(); }

  /// Does nothing for a member that is in a list of this Hook already.
  void push_back(T& member) noexcept {
    Hook& hook = member;
    if (!hook.linked()) {
      hook.link_before(head_);
    }
  }

  /// The first member, taken out; null if there is none.
  T* pop_front() noexcept {
    if (empty()) {
      return nullptr;
    }
    auto* const hook = static_cast<Hook*>(head_.next());
    hook->unlink();
    return static_cast<T*>(hook);
  }

  /// Requires: `function` neither adds members nor takes any out.
  template <class Function>
  void for_each(Function function) const {
    for (ListHook* hook = head_.next(); hook != &head_; hook = hook->next()) {
      function(static_cast<T&>(static_cast<Hook&>(*hook)));
    }
  }

  /// Moves all members of `other` behind these.
  void take_all(IntrusiveList& other) noexcept {
    while (T* const member = other.pop_front()) {
      push_back(*member);
    }
  }

 private:
  Hook head_;
};

}  // namespace waterspout
