#include "reverse_server/framed_server.h"

#include <charconv>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <utility>

#include "waterspout/error.h"
#include "waterspout/stack_context.h"

namespace reverse_server {

using waterspout::IOStream;
using StreamPointer = std::shared_ptr<IOStream>;

namespace {

// A request that has arrived is read also when its connection has broken since;
// then there is nobody to reply to, and nothing to report.
bool is_about_closed_stream(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const waterspout::StreamClosedError&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

/// One round after the other on every connection: read a header, read that many
/// bytes, write the reply. The next header is read when the reply has been
/// taken, so a client that does not read makes the server store no more.
///
/// Lifetime: the callbacks hold the stream and this object; see iostream.h for
/// why that is no leak.
class FramedServer::Protocol
    : public std::enable_shared_from_this<FramedServer::Protocol> {
 public:
  Protocol(int digits, Logic logic)
      : digits_(static_cast<std::size_t>(digits)), logic_(std::move(logic)) {
    if (digits < 1 || digits > kMaxDigits) {
      throw std::invalid_argument("FramedServer: digits: not from 1 to " +
                                  std::to_string(kMaxDigits));
    }
  }

  void read_header(const StreamPointer& stream) const {
    stream->read_bytes(
        digits_, [self = shared_from_this(), stream](std::string_view header) {
          self->read_request(stream, header);
        });
  }

 private:
  void read_request(const StreamPointer& stream,
                    std::string_view header) const {
    const std::optional<std::size_t> length = parse_length(header);
    if (!length) {
      const std::string peer = stream->peer_address().to_string();
      stream->loop().logger().info("read: " + peer + ": bad header \"" +
                                   waterspout::escape_bytes(header) + "\"");
      stream->close();
      return;
    }
    stream->read_bytes(
        *length, [self = shared_from_this(), stream](std::string_view request) {
          self->write_reply(stream, self->logic_(request));
        });
  }

  void write_reply(const StreamPointer& stream,
                   const std::string& reply) const {
    std::string header = std::to_string(reply.size());
    if (header.size() > digits_) {
      stream->loop().logger().error(
          "write: reply: its " + header + " bytes are more than a header of " +
          std::to_string(digits_) + " digits can say");
      stream->close();
      return;
    }
    header.insert(0, digits_ - header.size(), '0');
    stream->write(header);
    stream->write(reply, [self = shared_from_this(), stream] {
      self->read_header(stream);
    });
  }

  // For an unsigned number, from_chars takes digits and nothing else.
  static std::optional<std::size_t> parse_length(std::string_view header) {
    std::uint64_t length = 0;
    const char* const end = header.data() + header.size();
    const auto [rest, error] = std::from_chars(header.data(), end, length);
    if (error != std::errc() || rest != end || length == 0 ||
        length > kLongestRequest) {
      return std::nullopt;
    }
    return static_cast<std::size_t>(length);
  }

  const std::size_t digits_;
  const Logic logic_;
};

FramedServer::FramedServer(waterspout::IOLoop& loop, int digits, Logic logic)
    : TCPServer(loop),
      protocol_(std::make_shared<const Protocol>(digits, std::move(logic))) {}

void FramedServer::handle_stream(StreamPointer stream,
                                 const waterspout::Address& /*address*/) {
  waterspout::run_with_stack_context<waterspout::ExceptionStackContext>(
      is_about_closed_stream, [&] { protocol_->read_header(stream); });
}

void FramedServer::handle_drain(IOStream& stream) {
  stream.close_after_writing();
}

}  // namespace reverse_server
