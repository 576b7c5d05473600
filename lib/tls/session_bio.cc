#include "tls/session_bio.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "tls/openssl_ptr.h"

namespace waterspout {
namespace {

SessionBio& ends_of(BIO* bio) noexcept {
  return *static_cast<SessionBio*>(BIO_get_data(bio));
}

int read_bio(BIO* bio, char* into, int room) noexcept {
  BIO_clear_retry_flags(bio);
  const int got = ends_of(bio).read(into, room);
  if (got < 0) {
    BIO_set_retry_read(bio);
  }
  return got;
}

int write_bio(BIO* bio, const char* bytes, int size) noexcept {
  BIO_clear_retry_flags(bio);
  const int taken = ends_of(bio).write(bytes, size);
  if (taken < 0 && ends_of(bio).trouble == SessionBio::Trouble::none) {
    BIO_set_retry_write(bio);
  }
  return taken;
}

// Answering for the end is what makes OpenSSL 3 tell a truncation from any
// other failure. It asks for much else that is about sockets.
long control_bio(BIO* bio, int command, long /*number*/,
                 void* /*pointer*/) noexcept {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_EOF:
      return ends_of(bio).ended() && !ends_of(bio).has_input() ? 1 : 0;
    default:
      return 0;
  }
}

BIO_METHOD* make_method() {
  BIO_METHOD* const method = BIO_meth_new(
      BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "waterspout session");
  if (method == nullptr) {
    throw std::bad_alloc();
  }
  BIO_meth_set_read(method, &read_bio);
  BIO_meth_set_write(method, &write_bio);
  BIO_meth_set_ctrl(method, &control_bio);
  return method;
}

}  // namespace

bio_st* SessionBio::make_bio() {
  static BIO_METHOD* const method = make_method();  // for the process's life
  BIO* const bio = BIO_new(method);
  if (bio == nullptr) {
    throw std::bad_alloc();
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  return bio;
}

void SessionBio::keep_input() {
  if (!fed_.empty()) {
    stored_.append(fed_);
    fed_ = {};
  }
}

// -1: nothing now; 0: nothing ever.
int SessionBio::read(char* into, int room) noexcept {
  const std::string_view source = stored_.empty() ? fed_ : stored_.front();
  if (source.empty()) {
    return ended_ ? 0 : -1;
  }
  const std::size_t size =
      std::min(source.size(), static_cast<std::size_t>(room));
  std::memcpy(into, source.data(), size);
  if (stored_.empty()) {
    fed_.remove_prefix(size);
  } else {
    stored_.consume(size);
  }
  return static_cast<int>(size);
}

int SessionBio::write(const char* bytes, int size) noexcept {
  if (!takes_output) {
    return -1;
  }
  if (output.size() > kOutputAtMost) {
    trouble = Trouble::flooded;
    return -1;
  }
  try {
    output.append({bytes, static_cast<std::size_t>(size)});
  } catch (const std::bad_alloc&) {
    trouble = Trouble::no_memory;
    return -1;
  }
  return size;
}

}  // namespace waterspout
