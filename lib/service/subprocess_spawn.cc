#include "service/subprocess_spawn.h"

#include <cerrno>
#include <csignal>
#include <new>
#include <stdexcept>
#include <string_view>

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include "base/throw_errno.h"

namespace waterspout {
namespace {

constexpr int kOutput = 1;
constexpr int kErrors = 2;
constexpr int kFirstOther = 3;

// What the functions of posix_spawn's arguments may lack is memory.
void check(int code) {
  if (code != 0) {
    throw std::bad_alloc();
  }
}

class FileActions {
 public:
  FileActions() { check(::posix_spawn_file_actions_init(&actions_)); }
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;

  void copy(int from, int to) {
    check(::posix_spawn_file_actions_adddup2(&actions_, from, to));
  }
  void close_from(int first) {
    check(::posix_spawn_file_actions_addclosefrom_np(&actions_, first));
  }
  void change_directory(int fd) {
    check(::posix_spawn_file_actions_addfchdir_np(&actions_, fd));
  }

  [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept {
    return &actions_;
  }

 private:
  posix_spawn_file_actions_t actions_{};
};

/// Signals as in a fresh process.
class Attributes {
 public:
  Attributes() {
    check(::posix_spawnattr_init(&attributes_));
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
    ::sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    ::posix_spawnattr_setflags(&attributes_,
                               POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;

  [[nodiscard]] const posix_spawnattr_t* get() const noexcept {
    return &attributes_;
  }

 private:
  posix_spawnattr_t attributes_{};
};

// Ends with the null pointer that execve(2) wants; lives as long as `strings`.
std::vector<char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& string : strings) {
    pointers.push_back(const_cast<char*>(string.c_str()));
  }
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> environment_of(const SubprocessOptions& options) {
  std::vector<std::string> variables;
  for (char** entry = environ;
       options.inherit_environment && entry != nullptr && *entry != nullptr;
       ++entry) {
    const std::string_view variable(*entry);
    const std::string name(variable.substr(0, variable.find('=')));
    if (!options.environment.contains(name)) {
      variables.emplace_back(variable);
    }
  }
  for (const auto& [name, value] : options.environment) {
    if (value) {
      variables.push_back(name + "=" + *value);
    }
  }
  return variables;
}

// Opened here, so that its failure is not taken for the program's.
UniqueFd open_directory(const std::string& path) {
  UniqueFd directory(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    throw_errno(errno, "Subprocess", path);
  }
  return directory;
}

bool has_zero_byte(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

void check_variable(const std::string& name,
                    const std::optional<std::string>& value) {
  if (name.empty() || name.find('=') != std::string::npos ||
      has_zero_byte(name) || (value && has_zero_byte(*value))) {
    throw std::invalid_argument("Subprocess: environment: \"" + name +
                                "\": can be no variable");
  }
}

}  // namespace

void check_spawn(const std::vector<std::string>& command,
                 const SubprocessOptions& options) {
  if (command.empty() || command.front().empty()) {
    throw std::invalid_argument("Subprocess: command: is empty");
  }
  for (const std::string& argument : command) {
    if (has_zero_byte(argument)) {
      throw std::invalid_argument(
          "Subprocess: command: an argument has a zero byte");
    }
  }
  for (const auto& [name, value] : options.environment) {
    check_variable(name, value);
  }
  if (has_zero_byte(options.directory)) {
    throw std::invalid_argument("Subprocess: directory: has a zero byte");
  }
}

pid_t spawn(const SpawnRequest& request) {
  FileActions actions;
  for (int fd = 0; fd < kFirstOther; ++fd) {
    if (const UniqueFd& source = request.fds.at(static_cast<std::size_t>(fd))) {
      actions.copy(source.get(), fd);
    }
  }
  if (request.options.errors.kind() == ChildFd::Kind::output) {
    actions.copy(kOutput, kErrors);
  }
  UniqueFd directory;
  if (!request.options.directory.empty()) {
    directory = open_directory(request.options.directory);
    actions.change_directory(directory.get());
  }
  actions.close_from(kFirstOther);

  const Attributes attributes;
  const std::vector<std::string> variables = environment_of(request.options);
  const std::string& program = request.command.front();
  auto* const start =
      request.options.search_path ? &::posix_spawnp : &::posix_spawn;
  pid_t pid = -1;
  const int code =
      start(&pid, program.c_str(), actions.get(), attributes.get(),
            pointers_to(request.command).data(), pointers_to(variables).data());
  if (code != 0) {
    throw_errno(code, "Subprocess", program);
  }
  return pid;
}

}  // namespace waterspout
