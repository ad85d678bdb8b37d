// canopyctl adopt: takes over a tree of accounts that lies in a directory already. Needs no daemon, and no
// daemon may serve the tree.
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "daemon/base/bytes.h"
#include "daemon/dict/dict.h"
#include "tools/canopyctl/adopt_plan.h"

namespace canopy::ctl {
namespace fs = std::filesystem;
namespace {

constexpr const char* kMarkerFile = ".canopy/store";
constexpr const char* kCatalogDirectory = ".canopy/catalog";
// A daemon that serves the tree from another machine writes its register every two seconds.
constexpr auto kRegisterWatched = std::chrono::seconds(7);

struct AdoptArguments {
  std::string directory, domain_foldering;
  std::vector<std::string> layouts;
  bool apply = false;
};

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  const int fd_;
};

std::string read_tree_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The lock that canopyd holds on its register, for as long as this lives. Reading needs no register.
Result<std::unique_ptr<Descriptor>> lock_tree(const std::string& base, bool to_write) {
  const std::string path = fmt::format("{}/{}/{}", base, kTreeRoot, kHeartbeatElement);
  auto file = std::make_unique<Descriptor>(
      ::open(path.c_str(), (to_write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0600));
  if (file->get() < 0) {
    if (errno == ENOENT && !to_write) return file;
    return fail_errno(errno, path, "open");
  }
  struct flock whole = {};
  whole.l_type = to_write ? F_WRLCK : F_RDLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(file->get(), F_OFD_SETLK, &whole) == 0) return file;
  if (errno != EAGAIN && errno != EACCES) return fail_errno(errno, path, "lock");
  return fail(Code::kBusy, base, "a canopyd serves this tree; stop it first");
}

Result<void> watch_register(const std::string& base) {
  const std::string path = fmt::format("{}/{}/{}", base, kTreeRoot, kHeartbeatElement);
  const std::string before = read_tree_file(path);
  if (before.empty()) return {};
  const auto found = dict::parse_dict(before, path);
  if (found && found->bool_or("Released", false)) return {};
  fmt::print(stderr,
             "the last canopyd of this tree did not end in order; looking for {} s whether it still runs\n",
             kRegisterWatched.count());
  std::this_thread::sleep_for(kRegisterWatched);
  if (read_tree_file(path) == before) return {};
  return fail(Code::kBusy, base, "a canopyd of another machine serves this tree; stop it first");
}

// Durable files and directories of the owner that the tree has, whoever runs this.
class TreeWriter {
 public:
  explicit TreeWriter(std::string base) : base_(std::move(base)) {}

  Result<void> begin() {
    struct stat tree = {};
    const std::string path = base_ + "/" + std::string(kTreeRoot);
    if (::stat(path.c_str(), &tree) != 0) return fail_errno(errno, path, "look at");
    owner_ = tree.st_uid;
    group_ = tree.st_gid;
    return {};
  }

  Result<void> make_directory(const std::string& name) {
    const std::string path = base_ + "/" + name;
    if (::mkdir(path.c_str(), 0700) != 0) {
      if (errno == EEXIST) return {};
      return fail_errno(errno, path, "make the directory");
    }
    if (::chown(path.c_str(), owner_, group_) != 0)
      return fail_errno(errno, path, "give to the tree's owner");
    return sync_parent(path);
  }

  Result<void> replace(const std::string& name, const std::string& text) {
    const std::string path = base_ + "/" + name, staged = path + ".new";
    {
      const Descriptor file(
          ::open(staged.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (file.get() < 0) return fail_errno(errno, staged, "make");
      if (::fchown(file.get(), owner_, group_) != 0)
        return fail_errno(errno, staged, "give to the tree's owner");
      for (size_t at = 0; at < text.size();) {
        const ssize_t done = ::write(file.get(), text.data() + at, text.size() - at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail_errno(errno, staged, "write");
        at += static_cast<size_t>(done);
      }
      if (::fsync(file.get()) != 0) return fail_errno(errno, staged, "sync");
    }
    if (::rename(staged.c_str(), path.c_str()) != 0) return fail_errno(errno, path, "rename to");
    return sync_parent(path);
  }

  bool has(const std::string& name) const {
    std::error_code error;
    return fs::exists(base_ + "/" + name, error);
  }

 private:
  Result<void> sync_parent(const std::string& path) {
    const std::string parent = path.substr(0, path.rfind('/'));
    const Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0 || ::fsync(directory.get()) != 0) return fail_errno(errno, parent, "sync");
    return {};
  }

  const std::string base_;
  uid_t owner_ = 0;
  gid_t group_ = 0;
};

// docs/formats/store.md, "Identity"
Result<std::string> new_marker() {
  std::string id(16, '\0');
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size()))
    return fail_errno(errno, kMarkerFile, "draw an id for");
  id[6] = static_cast<char>((id[6] & 0x0f) | 0x40);
  id[8] = static_cast<char>((id[8] & 0x3f) | 0x80);
  std::string text = to_hex(id);
  for (const size_t at : {8u, 13u, 18u, 23u}) text.insert(at, "-");
  const dict::Dict marker{
      {"Id", text}, {"Name", "root"}, {"Serves", "SharedDomains, Settings"}, {"Version", 1}};
  return dict::print(marker, dict::Style::kCompact) + "\n";
}

// The marker last: without it no daemon starts on a tree that was adopted in part. Each step may be done
// again.
Result<void> apply(const std::string& base, const AdoptPlan& plan) {
  TreeWriter writer(base);
  CANOPY_TRY(writer.begin());
  CANOPY_TRY(writer.make_directory(std::string(kSettingsRoot)));
  if (plan.claim)
    CANOPY_TRY(writer.replace(fmt::format("{}/{}.{}", kTreeRoot, kHeartbeatElement, *plan.claim),
                              "{Holder=\"canopyctl adopt\";}\n"));
  if (plan.tree_settings) CANOPY_TRY(writer.replace("Settings/Tree.settings", *plan.tree_settings));
  for (const AdoptedDomain& domain : plan.domains)
    if (domain.settings) CANOPY_TRY(writer.replace(domain.directory + "/domain.settings", *domain.settings));
  // Derived from a tree that other hands have changed since.
  std::error_code error;
  fs::remove_all(base + "/" + kCatalogDirectory, error);
  if (error) return fail_errno(error.value(), base + "/" + kCatalogDirectory, "remove");
  CANOPY_TRY(writer.make_directory(".canopy"));
  if (writer.has(kMarkerFile)) return {};
  CANOPY_ASSIGN(const std::string marker, new_marker());
  return writer.replace(kMarkerFile, marker);
}

Json plan_json(const AdoptScan& scan, const AdoptFindings& findings, const AdoptPlan& plan, bool applied) {
  Json domains = Json::array();
  for (const AdoptedDomain& domain : plan.domains) {
    Json layouts = Json::array();
    for (const AdoptedLayout& of : domain.layouts)
      layouts.push_back({{"account_foldering", of.layout.account_foldering().to_string()},
                         {"fast_index", of.layout.fast_index()},
                         {"accounts", of.accounts}});
    domains.push_back({{"name", domain.name},
                       {"directory", domain.directory},
                       {"accounts", domain.accounts},
                       {"layouts", layouts},
                       {"settings", domain.is_new     ? "new"
                                    : domain.settings ? "changed"
                                                      : "kept"}});
  }
  Json older = Json::array();
  for (size_t i = 1; i < plan.domain_folderings.size(); ++i)
    older.push_back(plan.domain_folderings[i].to_string());
  Json not_understood = Json::array();
  for (const AdoptFinding& finding : findings.listed())
    not_understood.push_back({{"path", finding.path}, {"what", finding.what}});
  return {{"base", scan.base()},
          {"applied", applied},
          {"accounts", plan.accounts},
          {"domain_foldering", plan.domain_folderings.front().to_string()},
          {"superseded_domain_folderings", older},
          {"domains", domains},
          {"not_understood", not_understood},
          {"not_listed", findings.not_listed()}};
}

std::string plan_text(const AdoptScan& scan, const AdoptFindings& findings, const AdoptPlan& plan,
                      bool applied) {
  std::string text =
      fmt::format("{}: {} accounts in {} domains, domain foldering {}\n", scan.base(), plan.accounts,
                  plan.domains.size(), plan.domain_folderings.front().to_string());
  for (size_t i = 1; i < plan.domain_folderings.size(); ++i)
    text += fmt::format("  and older ones: {}\n", plan.domain_folderings[i].to_string());
  for (const AdoptedDomain& domain : plan.domains) {
    text += fmt::format("{}: {} accounts, settings {}\n", domain.name, domain.accounts,
                        domain.is_new     ? "new"
                        : domain.settings ? "changed"
                                          : "kept");
    for (const AdoptedLayout& of : domain.layouts)
      text += fmt::format("  {:<9} foldering {}, fast index {}: {} accounts\n",
                          &of == &domain.layouts.front() ? "own" : "older",
                          of.layout.account_foldering().to_string(), of.layout.fast_index(), of.accounts);
  }
  if (!findings.listed().empty()) text += "not understood, and left alone:\n";
  for (const AdoptFinding& finding : findings.listed())
    text += fmt::format("  {}: {}\n", finding.path, finding.what);
  if (findings.not_listed() != 0) text += fmt::format("  and {} more\n", findings.not_listed());
  return text + (applied ? "adopted\n" : "nothing was changed; --apply does it\n");
}

Result<AdoptWishes> wishes_of(const AdoptArguments& arguments) {
  AdoptWishes wishes;
  if (!arguments.domain_foldering.empty()) {
    CANOPY_ASSIGN(wishes.domain_foldering, Foldering::parse(arguments.domain_foldering));
  }
  for (const std::string& text : arguments.layouts) {
    const size_t equals = text.find('='), comma = text.find(',');
    if (equals == std::string::npos)
      return fail(Code::kInvalidArgument, text, "a layout is DOMAIN=METHOD or DOMAIN=METHOD,FASTINDEX");
    CANOPY_ASSIGN(const std::string domain, prepare_domain(text.substr(0, equals)));
    CANOPY_ASSIGN(const TreeLayout layout,
                  TreeLayout::parse("1-1-1-1", text.substr(equals + 1, comma - equals - 1),
                                    comma == std::string::npos ? "0" : text.substr(comma + 1)));
    wishes.layouts[domain] = {layout.account_foldering(), layout.fast_index()};
  }
  return wishes;
}

}  // namespace

static Result<void> adopt(Context& context, const AdoptArguments& arguments) {
  CANOPY_ASSIGN(const AdoptWishes wishes, wishes_of(arguments));
  std::error_code error;
  const std::string base = fs::canonical(arguments.directory, error).string();
  if (error) return fail_errno(error.value(), arguments.directory, "open");
  if (!fs::is_directory(base + "/" + std::string(kTreeRoot), error))
    return fail(
        Code::kNotFound, base,
        fmt::format("there is no directory {} in it: give the base directory, which holds the domains "
                    "in a directory of that name",
                    kTreeRoot));
  CANOPY_ASSIGN(const auto lock, lock_tree(base, arguments.apply));
  if (arguments.apply) CANOPY_TRY(watch_register(base));
  AdoptScan scan(base);
  CANOPY_TRY(scan.run());
  CANOPY_ASSIGN(const AdoptPlan plan, plan_adoption(scan, wishes));
  if (arguments.apply) CANOPY_TRY(apply(base, plan));
  context.print(plan_json(scan, scan.findings(), plan, arguments.apply),
                plan_text(scan, scan.findings(), plan, arguments.apply));
  return {};
}

void add_adopt_command(CLI::App& app, Commands& commands) {
  const auto [command, arguments] = commands.add(
      app, "adopt",
      "take over a tree of accounts in the directory where it lies: from a backup, of another Canopy, or "
      "made by "
      "a script. It is a base directory, with the domains in SharedDomains, on a file system of this "
      "machine, "
      "that no canopyd serves; start canopyd on it afterwards. Accounts are directories NAME.macnt with a "
      "log or "
      "settings. How a domain folds its accounts, and where `fast` folders hold settings, is made out from "
      "where "
      "they lie; what most of them have becomes the domain's layout and the rest its superseded ones, so "
      "that "
      "all are found and none is moved, until `relocation resume DOMAIN` (and '*' for the domains "
      "themselves, where they lie under several domain folderings). Only settings of the tree and its "
      "domains are written, the marker .canopy/store and a number for the next canopyd; the catalog in "
      ".canopy "
      "is removed, as it is derived. What is not understood is listed and left alone. Without --apply it "
      "says "
      "what it would do",
      adopt);
  command->add_option("directory", arguments->directory, "the base directory")->required()->type_name("DIR");
  command->add_flag("--apply", arguments->apply, "do it");
  command
      ->add_option(
          "--domain-foldering", arguments->domain_foldering,
          "folders above domains; default: as Settings/Tree.settings says, or where most domains lie")
      ->type_name("METHOD");
  command
      ->add_option(
          "--layout", arguments->layouts,
          "a domain's own layout, as company.com=2-1 or company.com=2-1,2 with a fast index; default: as "
          "its settings say, or where most accounts lie; repeatable")
      ->type_name("DOMAIN=METHOD[,N]")
      ->allow_extra_args(false);
}

}  // namespace canopy::ctl
