// BlockPool: memory of objects that come and go with connections, kept for the
// next one of their size.

#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace waterspout {

/// Blocks of operator new, so that any pool takes back what another gave, and
/// operator delete what all gave. It keeps no more blocks than it has made and
/// not got rid of: what is made elsewhere and comes here does not pile up.
/// One for each loop; not for several threads.
class BlockPool {
 public:
  /// The largest block that is kept, and how many of each size.
  static constexpr std::size_t kLargest = 1024;
#if defined(__SANITIZE_ADDRESS__)
  static constexpr std::size_t kKept = 0;  // so that it sees what is gone
#else
  static constexpr std::size_t kKept = 128;
#endif

  BlockPool() = default;
  ~BlockPool() {
    for (Shelf& shelf : shelves_) {
      while (shelf.first != nullptr) {
        ::operator delete(shelf.take());
      }
    }
  }

  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// Errors: throws std::bad_alloc.
  [[nodiscard]] void* take(std::size_t size) {
    if (size > kLargest) {
      return ::operator new(size);
    }
    Shelf& shelf = shelf_of(size);
    if (shelf.first != nullptr) [[likely]] {
      return shelf.take();
    }
    void* const made = ::operator new(rounded(size));
    ++shelf.made;
    return made;
  }

  /// `size` is what the block was taken for.
  void give_back(void* block, std::size_t size) noexcept {
    if (size <= kLargest) {
      Shelf& shelf = shelf_of(size);
      if (shelf.kept < shelf.made && shelf.kept + 1 <= kKept) [[likely]] {
        shelf.put(block);
        return;
      }
      shelf.made -= shelf.kept < shelf.made ? 1 : 0;
    }
    ::operator delete(block);
  }

  /// How many blocks for `size` bytes, which is kLargest at most, are kept.
  [[nodiscard]] std::size_t kept(std::size_t size) noexcept {
    return shelf_of(size).kept;
  }

  /// What take() asks operator new for: all sizes of a shelf are one. glibc's
  /// blocks are multiples of 16 bytes, 8 of which are its own.
  [[nodiscard]] static constexpr std::size_t rounded(
      std::size_t size) noexcept {
    return shelf_number(size) * kStep + kStep / 2;
  }

 private:
  static constexpr std::size_t kStep = alignof(std::max_align_t);

  struct Free {
    Free* next;
  };

  struct Shelf {
    Free* first = nullptr;
    std::size_t kept = 0;
    std::size_t made = 0;  // kept and not yet given back

    void* take() noexcept {
      Free* const taken = first;
      first = taken->next;
      --kept;
      return taken;
    }
    void put(void* block) noexcept {
      first = new (block) Free{first};
      ++kept;
    }
  };

  static constexpr std::size_t shelf_number(std::size_t size) noexcept {
    return (size + kStep / 2 - 1) / kStep;
  }
  Shelf& shelf_of(std::size_t size) noexcept {
    return shelves_[shelf_number(size)];
  }

  std::array<Shelf, (kLargest + kStep / 2 - 1) / kStep + 1> shelves_;
};

}  // namespace waterspout
