#include "support/web_servers.h"

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <vector>

#include <unistd.h>

namespace waterspout::test {

namespace {

constexpr const char* kPython = "/usr/bin/python3";

Program::Options server_options() {
  Program::Options options;
  options.time_limit = std::chrono::seconds(60);
  return options;
}

// timeout(1) ends the server also where nobody is left to do it.
std::vector<std::string> with_time_limit(std::vector<std::string> command) {
  command.insert(command.begin(), {"/usr/bin/timeout", "60"});
  return command;
}

void stop(Program& program) noexcept {
  try {
    program.terminate();
  } catch (const std::exception&) {
    // ~Program kills it.
  }
}

// What is in the brackets of "Serving HTTP on ::1 port 80 (http://[::1]:80/)".
std::string base_in(const std::string& text) {
  const auto begin = text.find('(') + 1;
  return text.substr(begin, text.find("/)") - begin);
}

std::string source_root() {
  const char* root = std::getenv("WATERSPOUT_SOURCE_ROOT");
  if (root == nullptr) {
    throw std::runtime_error("WATERSPOUT_SOURCE_ROOT is not set");
  }
  return root;
}

}  // namespace

PythonServer::PythonServer(const std::string& directory,
                           const std::string& address)
    : program_(with_time_limit({kPython, "-u", "-m", "http.server", "0",
                                "--bind", address, "--directory", directory}),
               server_options()),
      base_(base_in(program_.wait_for_out("/)"))) {}

PythonServer::~PythonServer() { stop(program_); }

std::string PythonServer::url(std::string_view path) const {
  return base_ + std::string(path);
}

TornadoServer::TornadoServer()
    : program_(
          with_time_limit(
              {kPython, "-u", source_root() + "/test/tools/tornado_server.py"}),
          server_options()),
      base_(base_in(program_.wait_for_out("/)"))) {}

TornadoServer::~TornadoServer() { stop(program_); }

std::string TornadoServer::url(std::string_view path) const {
  return base_ + std::string(path);
}

// nginx can neither choose a port nor say which it has. But it takes over
// sockets that listen already from an nginx that it replaces, whose part we
// play: so the port is ours, and clients can connect from the first moment.
NginxServer::NginxServer(const std::string& directory)
    : listener_(listen_on_loopback(port_)),
      program_(with_time_limit({"/usr/sbin/nginx", "-e", "stderr", "-c",
                                write_configuration(directory)}),
               [this] {
                 Program::Options options = server_options();
                 options.environment = {"NGINX=3;"};
                 options.pass_fd = listener_.get();
                 return options;
               }()) {}

NginxServer::~NginxServer() { stop(program_); }

std::string NginxServer::url(std::string_view path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
}

std::string NginxServer::write_configuration(
    const std::string& directory) const {
  const std::string own = own_files_.path();
  const std::string user = ::geteuid() == 0 ? "user root;\n" : "";
  return own_files_.write(
      "nginx.conf",
      user + "daemon off;\nworker_processes 1;\npid " + own + "/nginx.pid;\n" +
          "error_log stderr crit;\nevents {}\nhttp {\n  access_log off;\n" +
          "  client_body_temp_path " + own + "/body;\n" + "  proxy_temp_path " +
          own + "/proxy;\n" + "  fastcgi_temp_path " + own + "/fastcgi;\n" +
          "  uwsgi_temp_path " + own + "/uwsgi;\n" + "  scgi_temp_path " + own +
          "/scgi;\n" + "  server {\n    listen 127.0.0.1:" +
          std::to_string(port_) + ";\n" + "    root " + directory + ";\n" +
          "    location = /old { return 301 /new; }\n" +
          "    location /list/ { alias " + directory +
          "/; autoindex on; }\n  }\n}\n");
}

}  // namespace waterspout::test
