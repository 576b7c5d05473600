#include <stdexcept>
#include <utility>

#include <netinet/in.h>

#include "waterspout/iostream.h"

#include "stream/socket_transport.h"
#include "stream/stream_core.h"

namespace waterspout {

BaseIOStream::~BaseIOStream() = default;

void BaseIOStream::read_until(std::string_view delimiter,
                              ReadCallback callback) {
  core_.read_until(delimiter, kUnlimited, std::move(callback));
}

void BaseIOStream::read_until(std::string_view delimiter,
                              ReadUntilOptions options, ReadCallback callback) {
  core_.read_until(delimiter, options.max_bytes, std::move(callback));
}

BaseIOStream::ReadCallback* BaseIOStream::begin_read_until(
    std::string_view delimiter) noexcept {
  return core_.begin_read_until(delimiter);
}

BaseIOStream::ReadCallback* BaseIOStream::begin_read_bytes(
    std::size_t count) noexcept {
  return core_.begin_read_bytes(count);
}

BaseIOStream::WriteCallback* BaseIOStream::begin_write(std::string_view data) {
  return core_.begin_write(data);
}

void BaseIOStream::read_until_regex(std::string_view pattern,
                                    ReadCallback callback) {
  core_.read_until_regex(pattern, kUnlimited, std::move(callback));
}

void BaseIOStream::read_until_regex(std::string_view pattern,
                                    ReadUntilOptions options,
                                    ReadCallback callback) {
  core_.read_until_regex(pattern, options.max_bytes, std::move(callback));
}

void BaseIOStream::read_bytes(std::size_t count, ReadCallback callback) {
  core_.read_bytes(count, {}, std::move(callback));
}

void BaseIOStream::read_bytes(std::size_t count, ReadBytesOptions options,
                              ReadCallback callback) {
  core_.read_bytes(count, std::move(options), std::move(callback));
}

void BaseIOStream::read_until_close(ReadCallback callback) {
  core_.read_until_close({}, std::move(callback));
}

void BaseIOStream::read_until_close(ReadUntilCloseOptions options,
                                    ReadCallback callback) {
  core_.read_until_close(std::move(options), std::move(callback));
}

void BaseIOStream::write(std::string_view data) { core_.write(data); }

void BaseIOStream::write(std::string_view data, WriteCallback callback) {
  core_.write(data, std::move(callback));
}

void BaseIOStream::set_close_callback(CloseCallback callback) {
  core_.set_close_callback(std::move(callback));
}

void BaseIOStream::set_read_end_callback(Callback<void()> callback) {
  core_.set_read_end_callback(std::move(callback));
}

bool BaseIOStream::half_close() const noexcept {
  return core_.options().half_close;
}

bool BaseIOStream::read_ended() const noexcept { return core_.read_ended(); }

void BaseIOStream::shutdown_write() { core_.shutdown_write(); }

void BaseIOStream::close(std::error_code error) { core_.close(error); }

void BaseIOStream::close_after_writing() { core_.close_after_writing(); }

bool BaseIOStream::closed() const noexcept { return core_.closed(); }

bool BaseIOStream::reading() const noexcept { return core_.reading(); }

bool BaseIOStream::writing() const noexcept { return core_.writing(); }

std::size_t BaseIOStream::unsent_bytes() const noexcept {
  return core_.unsent_bytes();
}

std::size_t BaseIOStream::unread_bytes() const noexcept {
  return core_.unread_bytes();
}

std::error_code BaseIOStream::error() const noexcept { return core_.error(); }

std::string BaseIOStream::error_message() const {
  return core_.error_message();
}

std::exception_ptr BaseIOStream::exception() const noexcept {
  return core_.exception();
}

// A connection that is going answers EINVAL or a reset, which its next read
// tells better; a socket of another family does not know the option.
void BaseIOStream::set_nodelay(bool value) {
  if (fileno() < 0) {
    return;
  }
  const std::error_code error = set_tcp_nodelay(fileno(), value);
  const bool expected = !error || error == std::errc::invalid_argument ||
                        error == std::errc::connection_reset ||
                        error == std::errc::operation_not_supported ||
                        error == std::errc::not_supported ||
                        error == std::errc::not_a_socket ||
                        error == std::errc::no_protocol_option;
  if (!expected) {
    throw std::system_error(error,
                            "set_nodelay: fd " + std::to_string(fileno()));
  }
}

int BaseIOStream::fileno() const noexcept { return core_.fd(); }

IOLoop& BaseIOStream::loop() const {
  if (core_.loop() == nullptr) {
    throw std::logic_error("loop: the stream's loop is closed");
  }
  return core_.loop()->loop();
}

}  // namespace waterspout
