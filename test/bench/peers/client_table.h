// Who is connected.

#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace peers {

/// Owns clients by their descriptors, which are small numbers.
template <class Client>
class ClientTable {
 public:
  Client& operator[](int fd) { return *clients_[index(fd)]; }

  Client& add(int fd, std::unique_ptr<Client> client) {
    if (index(fd) >= clients_.size()) {
      clients_.resize(index(fd) + 1);
    }
    clients_[index(fd)] = std::move(client);
    return (*this)[fd];
  }

  void remove(int fd) { clients_[index(fd)].reset(); }

 private:
  static std::size_t index(int fd) noexcept {
    return static_cast<std::size_t>(fd);
  }

  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace peers
