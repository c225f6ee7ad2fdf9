#include "runtime/cpu_quota.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

namespace bertcpp {
namespace {

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

struct Mount {
  std::string root;   // which part of the hierarchy is mounted
  std::string point;  // where
  bool version2;
};

// Whether a comma-separated list holds `word`.
bool lists(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// The mounts of the cgroup v2 hierarchy and of the v1 hierarchy with the cpu controller. A line of mountinfo:
// id parent device root point options [tags] - type source super_options
std::vector<Mount> cpu_mounts(const std::string& mountinfo_file) {
  std::vector<Mount> mounts;
  std::ifstream file(mountinfo_file);
  for (std::string line; std::getline(file, line);) {
    const size_t separator = line.find(" - ");
    if (separator == std::string::npos) continue;
    std::istringstream front(line.substr(0, separator));
    std::istringstream back(line.substr(separator + 3));
    std::string id, parent, device, root, point, type, source, options;
    front >> id >> parent >> device >> root >> point;
    back >> type >> source >> options;
    if (type == "cgroup2") mounts.push_back({root, point, true});
    if (type == "cgroup" && lists(options, "cpu")) mounts.push_back({root, point, false});
  }
  return mounts;
}

// The process's path in the v2 hierarchy or in the v1 hierarchy with the cpu controller. A line:
// number:controllers:path
std::string cgroup_path(const std::string& cgroup_file, bool version2) {
  std::ifstream file(cgroup_file);
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version2 ? controllers.empty() : lists(controllers, "cpu")) return line.substr(second + 1);
  }
  return "/";
}

double quota_of(const std::string& folder, bool version2) {
  double quota = -1.0;
  double period = 0.0;
  if (version2) {
    std::ifstream file(folder + "/cpu.max");
    if (!(file >> quota >> period)) return kNoQuota;  // "max 100000" is no number
  } else {
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
    std::ifstream period_file(folder + "/cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return kNoQuota;
  }
  return quota > 0.0 && period > 0.0 ? quota / period : kNoQuota;
}

// `path` below the part of the hierarchy that is mounted; empty where it lies outside (a namespace hides it).
std::string below_mount(const std::string& path, const std::string& root) {
  if (path.find("/..") != std::string::npos) return "";
  if (root == "/") return path == "/" ? "" : path;
  if (path.compare(0, root.size(), root) != 0) return "";
  return path.size() > root.size() && path[root.size()] != '/' ? "" : path.substr(root.size());
}

}  // namespace

double cpu_quota(const std::string& cgroup_file, const std::string& mountinfo_file) {
  double least = kNoQuota;
  for (const Mount& mount : cpu_mounts(mountinfo_file)) {
    std::string path = below_mount(cgroup_path(cgroup_file, mount.version2), mount.root);
    for (;;) {
      least = std::min(least, quota_of(mount.point + path, mount.version2));
      const size_t slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return least;
}

}  // namespace bertcpp
