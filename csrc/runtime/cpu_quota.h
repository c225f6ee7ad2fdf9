// How many processors a process's control groups let it use.
#pragma once

#include <string>

namespace bertcpp {

// The smallest quota on the way from the process's control group up to the root of each hierarchy, in processors;
// infinity where there is none. The arguments are files in the formats of /proc/self/cgroup and /proc/self/mountinfo.
double cpu_quota(const std::string& cgroup_file = "/proc/self/cgroup",
                 const std::string& mountinfo_file = "/proc/self/mountinfo");

}  // namespace bertcpp
