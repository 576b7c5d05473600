// BlockPool: memory of objects that come and go with connections, kept for the
// next one of their size.

#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace waterspout {

/// Blocks of operator new, so that any pool takes back what another gave, and
/// operator delete what all gave. One for each loop; not for several threads.
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
    if (size <= kLargest) {
      Shelf& shelf = shelf_of(size);
      if (shelf.first != nullptr) {
        return shelf.take();
      }
    }
    return ::operator new(rounded(size));
  }

  /// `size` is what the block was taken for.
  void give_back(void* block, std::size_t size) noexcept {
    if (size <= kLargest) {
      Shelf& shelf = shelf_of(size);
      if (shelf.count < kKept) {
        shelf.put(block);
        return;
      }
    }
    ::operator delete(block);
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
    std::size_t count = 0;

    void* take() noexcept {
      Free* const taken = first;
      first = taken->next;
      --count;
      return taken;
    }
    void put(void* block) noexcept {
      first = new (block) Free{first};
      ++count;
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
