// The files that write_cases.py writes: named numbers, texts and arrays.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "layers/tensor.h"

namespace bertcpp::testing {

static_assert(std::endian::native == std::endian::little, "case files are little-endian");

struct Entry {
  char kind = 0;
  std::vector<int64_t> shape;
  std::string data;  // aligned well enough for every kind: the memory comes from operator new

  int64_t count() const {
    int64_t product = 1;
    for (const int64_t size : shape) product *= size;
    return product;
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data.data());
  }
};

class CaseFile {
 public:
  explicit CaseFile(const std::string& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (std::string(take(8), 8) != "BERTCASE") fail("it does not begin with BERTCASE");
    while (position_ < bytes_.size()) read_entry();
    bytes_.clear();
    bytes_.shrink_to_fit();
  }

  const std::map<std::string, Entry>& entries() const { return entries_; }
  // nullptr where there is none.
  const Entry* find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? nullptr : &found->second;
  }
  const Entry& at(const std::string& name, char kind) const {
    const Entry* entry = find(name);
    if (entry == nullptr || entry->kind != kind) fail("no " + name + " of kind " + kind);
    return *entry;
  }
  int64_t integer(const std::string& name, int64_t otherwise) const {
    return find(name) == nullptr ? otherwise : *at(name, 'q').as<int64_t>();
  }
  template <class T>
  const T* array(const std::string& name, char kind) const {
    return find(name) == nullptr ? nullptr : at(name, kind).as<T>();
  }
  [[noreturn]] void fail(const std::string& what) const { throw std::runtime_error(path_ + ": " + what); }

 private:
  const char* take(size_t count) {
    if (count > bytes_.size() - position_) fail("it ends too early");
    position_ += count;
    return bytes_.data() + position_ - count;
  }
  template <class T>
  T number() {
    T value{};
    std::memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }

  void read_entry() {
    const auto length = number<uint32_t>();
    const std::string name(take(length), length);
    Entry entry;
    entry.kind = *take(1);
    const auto rank = number<uint32_t>();
    size_t bytes = element_bytes(entry.kind);
    for (uint32_t i = 0; i < rank; ++i) {
      entry.shape.push_back(number<int64_t>());
      if (entry.shape.back() < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(entry.shape.back()), &bytes)) {
        fail(name + " has an impossible size");
      }
    }
    entry.data.assign(take(bytes), bytes);
    entries_.emplace(name, std::move(entry));
  }

  size_t element_bytes(char kind) const {
    switch (kind) {
      case 'q':
      case 'd':
        return 8;
      case 'i':
      case 'f':
        return 4;
      case 'e':
      case 'b':
        return 2;
      case 's':
        return 1;
      default:
        fail("there is no kind " + std::to_string(kind));
    }
  }

  std::string path_;
  std::vector<char> bytes_;
  size_t position_ = 0;
  std::map<std::string, Entry> entries_;
};

}  // namespace bertcpp::testing
