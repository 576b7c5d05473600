#include "http_server/response.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "http_server/content_type.h"
#include "http_server/range.h"

namespace http_server {

namespace {

using Kind = Directory::Entry::Kind;

constexpr std::string_view kIndex = "index.html";

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 412:
      return "Precondition Failed";
    case 414:
      return "URI Too Long";
    case 416:
      return "Range Not Satisfiable";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Internal Server Error";
  }
}

void add_field(std::string& head, std::string_view name,
               std::string_view value) {
  head.append(name).append(": ").append(value).append("\r\n");
}

std::string begin_head(int status, Date now) {
  std::string head;
  head.reserve(512);
  head.append("HTTP/1.1 ").append(std::to_string(status)).append(" ");
  head.append(reason_phrase(status)).append("\r\n");
  add_field(head, "Date", format_date(now));
  return head;
}

// Between HTTP/1.0 and 1.1 it has changed what goes without saying.
void end_head(std::string& head, bool keep_alive, int minor_version) {
  if (!keep_alive) {
    add_field(head, "Connection", "close");
  } else if (minor_version == 0) {
    add_field(head, "Connection", "keep-alive");
  }
  head.append("\r\n");
}

/// The answer to one request. `extra` are lines of the head.
class Answer {
 public:
  Answer(const Request& request, Date now) : request_(request), now_(now) {}

  [[nodiscard]] Response status(int code, std::string_view explanation,
                                std::string_view extra = {}) const {
    std::string body = std::to_string(code);
    body.append(" ").append(reason_phrase(code));
    body.append(": ").append(explanation).append("\n");
    std::string head = begin_head(code, now_);
    head.append(extra);
    add_field(head, "Content-Type", "text/plain; charset=utf-8");
    add_field(head, "Content-Length", std::to_string(body.size()));
    Response response = finish(std::move(head));
    if (request_.method != Method::head) {
      response.text += body;
    }
    return response;
  }

  [[nodiscard]] Response redirect(const std::string& path) const {
    const std::string location =
        encode_path(path) + "/" + std::string(request_.query);
    return status(301, "a directory ends in a slash",
                  "Location: " + location + "\r\n");
  }

  [[nodiscard]] Response file(File file, const std::string& path) const {
    const Date modified = std::clamp(file.modified(), Date(), now_);
    if (!unmodified_as_required(modified)) {
      return status(412, "the file is not as required");
    }
    if (known_to_client(modified)) {
      std::string head = begin_head(304, now_);
      add_field(head, "Last-Modified", format_date(modified));
      return finish(std::move(head));
    }
    const Range range = requested_range(file.size(), modified);
    if (range.kind == Range::Kind::unsatisfiable) {
      return status(
          416, "the range lies outside the file",
          "Content-Range: bytes */" + std::to_string(file.size()) + "\r\n");
    }
    return part(std::move(file), range, modified, path);
  }

 private:
  // The date of a file that may have changed in the same second since does not
  // tell one content from another (RFC 9110, section 8.8.2.2).
  [[nodiscard]] bool identifies(Date modified) const {
    return modified < now_ - std::chrono::seconds(1);
  }

  // RFC 9110, section 13.2.2. We give files no entity tags, so those that a
  // client has are none of ours.
  [[nodiscard]] bool unmodified_as_required(Date modified) const {
    if (!request_.if_match.empty()) {
      return request_.if_match == "*";
    }
    const auto date = parse_date(request_.if_unmodified_since, now_);
    return !date || modified <= *date;
  }

  [[nodiscard]] bool known_to_client(Date modified) const {
    if (!request_.if_none_match.empty()) {
      return request_.if_none_match == "*";
    }
    const auto date = parse_date(request_.if_modified_since, now_);
    return date && modified <= *date;
  }

  [[nodiscard]] Range requested_range(std::uint64_t size, Date modified) const {
    const bool applies = request_.method == Method::get &&
                         (request_.if_range.empty() ||
                          (parse_date(request_.if_range, now_) == modified &&
                           identifies(modified)));
    return applies ? parse_range(request_.range, size) : Range{.length = size};
  }

  [[nodiscard]] Response part(File file, const Range& range, Date modified,
                              const std::string& path) const {
    const bool whole = range.kind == Range::Kind::whole;
    std::string head = begin_head(whole ? 200 : 206, now_);
    add_field(head, "Content-Type", content_type(path));
    add_field(head, "Content-Length", std::to_string(range.length));
    add_field(head, "Last-Modified", format_date(modified));
    add_field(head, "Accept-Ranges", "bytes");
    if (!whole) {
      const std::uint64_t last = range.offset + range.length - 1;
      add_field(head, "Content-Range",
                "bytes " + std::to_string(range.offset) + "-" +
                    std::to_string(last) + "/" + std::to_string(file.size()));
    }
    Response response = finish(std::move(head));
    if (request_.method == Method::get && range.length > 0) {
      response.file = std::move(file);
      response.offset = range.offset;
      response.length = range.length;
    }
    return response;
  }

  [[nodiscard]] Response finish(std::string head) const {
    end_head(head, request_.keep_alive, request_.minor_version);
    Response response;
    response.text = std::move(head);
    response.keep_alive = request_.keep_alive;
    return response;
  }

  const Request& request_;
  const Date now_;
};

}  // namespace

Response answer(const Request& request, const Directory& directory, Date now) {
  const Answer answer(request, now);
  const bool wants_index = request.path.empty() || request.path.back() == '/';
  std::string path = request.path;
  path.append(wants_index ? kIndex : "");
  Directory::Entry entry = directory.open(path);
  if (entry.kind == Kind::directory && wants_index) {
    entry.kind = Kind::missing;
  }
  switch (entry.kind) {
    case Kind::file:
      return answer.file(std::move(entry.file), path);
    case Kind::directory:
      return answer.redirect(path);
    case Kind::missing:
      return answer.status(404, "there is no such file");
    case Kind::forbidden:
      return answer.status(403, "this file cannot be read");
    case Kind::unavailable:
      break;
  }
  return answer.status(503, "the server has too much to do");
}

Response answer(const BadRequest& error, bool head_only, Date now) {
  Request request;
  request.method = head_only ? Method::head : Method::get;
  request.keep_alive = false;
  return Answer(request, now)
      .status(error.status(), error.what(),
              error.status() == 405 ? "Allow: GET, HEAD\r\n" : "");
}

}  // namespace http_server
