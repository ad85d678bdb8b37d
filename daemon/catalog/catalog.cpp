#include "daemon/catalog/catalog.h"

#include <filesystem>

#include "daemon/base/log.h"

namespace canopy {

Catalog::Catalog(CatalogOptions options)
    : options_(std::move(options)), workers_("canopy-catalog", options_.threads, kCatalogJobsWaitingMax) {}

Catalog::~Catalog() = default;

std::unexpected<Error> Catalog::closed() const {
  return fail(Code::kTryAgain, options_.directory, "the catalog is not open");
}

void Catalog::open_rows() {
  tried_ = std::chrono::steady_clock::now();
  auto opened = CatalogRows::open(options_);
  if (!opened) {
    log_event(LogLevel::kError, "catalog-not-open", options_.directory,
              {{"error", opened.error().to_string()}});
    return;
  }
  rows_ = std::move(*opened);
  instance_.store(++instances_, std::memory_order_release);
}

void Catalog::open_if_due() {
  std::unique_lock alone(gate_);
  bool due = std::chrono::steady_clock::now() - tried_ >= std::chrono::seconds(options_.renew_seconds);
  if (!rows_ && due) open_rows();
}

Task<void> Catalog::start(Loop& loop) {
  auto opened = co_await workers_.run(loop, [this] {
    std::unique_lock alone(gate_);
    if (!rows_) open_rows();
    return true;
  });
  if (!opened) {
    log_event(LogLevel::kError, "catalog-not-open", options_.directory,
              {{"error", opened.error().to_string()}});
  }
}

void Catalog::renew(uint64_t instance, const Error& reason) {
  std::unique_lock alone(gate_);
  if (instance_.load() != instance) return;  // somebody else did
  if (std::chrono::steady_clock::now() - tried_ < std::chrono::seconds(options_.renew_seconds)) return;
  log_event(LogLevel::kWarning, "catalog-made-anew", options_.directory, {{"reason", reason.to_string()}});
  counters_.renewed.fetch_add(1);
  instance_.store(0, std::memory_order_release);
  rows_.reset();
  std::error_code error;  // what stays shows when the tables are opened
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory, error)) {
    std::filesystem::remove_all(entry.path(), error);
  }
  open_rows();
}

uint64_t Catalog::memory_bytes() const {
  std::shared_lock using_it(gate_);
  return rows_ ? rows_->memory_bytes() : 0;
}

}  // namespace canopy
