// A relay between devices that produce frames of numbers and whoever wants
// them: sources send, consumers of the same device receive.
//
// The protocol, byte by byte. All lengths are unsigned, of four bytes, the
// highest first. A text is a length and that many bytes.
//
//   A source (a device)                  The relay
//   0x0a                           -->
//                                  <--   0x00
//   its uuid, a text               -->
//                                  <--   0x00, or 0x01: refused
//   its keys, a text               -->
//                                  <--   0x00, or 0x01: refused
//   frame, frame, frame ...        -->
//
//   A consumer                           The relay
//   0x0b                           -->
//                                  <--   0x00
//   the uuid of a device, a text   -->
//                                  <--   0x00, or 0x01: there is no such device
//                                  <--   the device's keys, a text
//   0x00: it accepts the keys      -->
//                                  <--   frame, frame, frame ...
//
// - The uuid is of 1 to 256 bytes of any kind. It is refused while another
//   source with the same one is connected: the device that is there stays.
// - The keys are of 1 to 16,384 bytes: names with a comma between two of them.
//   They say how many numbers a frame has: one for each name.
// - A frame is a number of four bytes for each key. The relay passes on whole
//   frames as they are; by custom the numbers are floats in the byte order of
//   the device.
// - A device is known from the answer to its keys on, until it goes. A consumer
//   gets the frames that arrive after it has accepted the keys.
// - After 0x01 the relay closes the connection. It also closes it, without an
//   answer, on any other first byte, on an answer to the keys that is not 0x00,
//   on any byte from a consumer after that, and if a handshake takes longer
//   than ten seconds. A peer that has vanished without a word is noticed after
//   a minute.
// - When a source goes, its consumers get what was sent to them and are closed.
// - A consumer for which more than a limit of bytes would wait is closed, so
//   that it slows down neither the source nor the other consumers.

#pragma once

#include <cstddef>
#include <memory>

#include "waterspout/ioloop.h"
#include "waterspout/iostream.h"
#include "waterspout/tcpserver.h"

#include "device_relay/devices.h"

namespace device_relay {

class Relay : public waterspout::TCPServer {
 public:
  /// The default limit, and the lowest one, in bytes: keys or a frame fit.
  static constexpr std::size_t kMaxUnsent = std::size_t{1} << 20;
  static constexpr std::size_t kLeastMaxUnsent = std::size_t{128} << 10;

  /// Connections may outlive the relay.
  explicit Relay(waterspout::IOLoop& loop, std::size_t max_unsent = kMaxUnsent);

  [[nodiscard]] const Devices& devices() const noexcept { return *devices_; }

 protected:
  void handle_stream(std::shared_ptr<waterspout::IOStream> stream,
                     const waterspout::Address& address) override;
  void handle_drain(waterspout::IOStream& stream) override;

 private:
  const std::shared_ptr<Devices> devices_;
};

}  // namespace device_relay
