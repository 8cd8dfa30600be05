// HDF5 1.10 serial C API: writing and scanning.
#include "store/hdf5_file.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

#include "core/disk.h"
#include "core/error.h"
#include "store/hdf5_handle.h"

namespace microdit::store {
namespace {

using namespace hdf5;

constexpr hsize_t kAlignment = 64;  // bytes; a row of a column then starts on a cache line
constexpr int kMaxRank = 8;
constexpr std::size_t kMaxColumns = 1024;

// A little-endian floating-point type that numpy knows (f16), or nearly (bf16), from the parts of IEEE
// single.
Handle float16_type(std::size_t exponent_bits, std::size_t bias) {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose, "H5Tcopy");
  ok(H5Tset_fields(type, 15, 15 - exponent_bits, exponent_bits, 0, 15 - exponent_bits), "H5Tset_fields");
  ok(H5Tset_size(type, 2), "H5Tset_size");
  ok(H5Tset_ebias(type, bias), "H5Tset_ebias");
  return type;
}

// numpy's bool, as h5py stores it.
Handle bool_type() {
  Handle type(H5Tenum_create(H5T_STD_I8LE), H5Tclose, "H5Tenum_create");
  const std::int8_t no = 0, yes = 1;
  ok(H5Tenum_insert(type, "FALSE", &no), "H5Tenum_insert");
  ok(H5Tenum_insert(type, "TRUE", &yes), "H5Tenum_insert");
  return type;
}

Handle file_type(core::DType dtype) {
  const auto copy = [](hid_t type) { return Handle(H5Tcopy(type), H5Tclose, "H5Tcopy"); };
  switch (dtype) {
    case core::DType::boolean:
      return bool_type();
    case core::DType::u8:
      return copy(H5T_STD_U8LE);
    case core::DType::i8:
      return copy(H5T_STD_I8LE);
    case core::DType::i16:
      return copy(H5T_STD_I16LE);
    case core::DType::u16:
      return copy(H5T_STD_U16LE);
    case core::DType::f16:
      return float16_type(5, 15);
    case core::DType::bf16:
      return float16_type(8, 127);
    case core::DType::i32:
      return copy(H5T_STD_I32LE);
    case core::DType::u32:
      return copy(H5T_STD_U32LE);
    case core::DType::f32:
      return copy(H5T_IEEE_F32LE);
    case core::DType::f64:
      return copy(H5T_IEEE_F64LE);
    case core::DType::i64:
      return copy(H5T_STD_I64LE);
    case core::DType::u64:
      return copy(H5T_STD_U64LE);
  }
  throw Failure{"no HDF5 type for this element type"};
}

constexpr std::array kDTypes = {core::DType::boolean, core::DType::u8,  core::DType::i8,   core::DType::i16,
                                core::DType::u16,     core::DType::f16, core::DType::bf16, core::DType::i32,
                                core::DType::u32,     core::DType::f32, core::DType::f64,  core::DType::i64,
                                core::DType::u64};

core::DType dtype_of(hid_t type) {
  for (const core::DType dtype : kDTypes)
    if (ok(H5Tequal(type, file_type(dtype)), "H5Tequal") > 0) return dtype;
  throw Failure{"its element type is none of ours"};
}

Handle access_list() {
  Handle list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "H5Pcreate");
  // Locks fail on many network file systems; a published shard never changes, so none is needed.
  ok(H5Pset_file_locking(list, false, true), "H5Pset_file_locking");
  return list;
}

void write_attribute(hid_t file, const std::string& name, const std::string& value) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "H5Tcopy");
  ok(H5Tset_cset(type, H5T_CSET_UTF8), "H5Tset_cset");
  ok(H5Tset_strpad(type, H5T_STR_NULLPAD), "H5Tset_strpad");
  ok(H5Tset_size(type, std::max<std::size_t>(value.size(), 1)), "H5Tset_size");
  Handle space(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  Handle attribute(H5Acreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
                   "H5Acreate");
  ok(H5Awrite(attribute, type, value.empty() ? "" : value.data()), "H5Awrite");
}

std::string read_attribute(hid_t file, const char* name, std::uint64_t file_bytes) {
  Handle attribute(H5Aopen(file, name, H5P_DEFAULT), H5Aclose, "H5Aopen");
  Handle type(H5Aget_type(attribute), H5Tclose, "H5Aget_type");
  Handle space(H5Aget_space(attribute), H5Sclose, "H5Aget_space");
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
      H5Sget_simple_extent_npoints(space) != 1)
    throw Failure{fmt::format("attribute `{}` is not one string of fixed length", name)};
  const std::size_t size = H5Tget_size(type);
  if (size > H5Aget_storage_size(attribute) || size > file_bytes)
    throw Failure{fmt::format("attribute `{}` is cut off", name)};
  std::string value(size, '\0');
  ok(H5Aread(attribute, type, value.data()), "H5Aread");
  while (!value.empty() && value.back() == '\0') value.pop_back();
  return value;
}

void write_column(hid_t file, const Column& column) {
  const std::vector<hsize_t> dims(column.shape.begin(), column.shape.end());
  Handle type = file_type(column.dtype);
  Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose,
               "H5Screate_simple");
  Handle create(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  ok(H5Pset_layout(create, H5D_CONTIGUOUS), "H5Pset_layout");
  ok(H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time");
  ok(H5Pset_fill_time(create, H5D_FILL_TIME_NEVER), "H5Pset_fill_time");
  ok(H5Pset_obj_track_times(create, false), "H5Pset_obj_track_times");
  Handle dataset(H5Dcreate2(file, column.name.c_str(), type, space, H5P_DEFAULT, create, H5P_DEFAULT),
                 H5Dclose, "H5Dcreate");
  if (!column.bytes.empty())
    ok(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, column.bytes.data()), "H5Dwrite");
  hsize_t begin = 0;
  for (const std::span<const std::byte> piece : column.pieces) {
    const hsize_t count = piece.size();
    if (count == 0) continue;
    Handle memory(H5Screate_simple(1, &count, nullptr), H5Sclose, "H5Screate_simple");
    ok(H5Sselect_hyperslab(space, H5S_SELECT_SET, &begin, nullptr, &count, nullptr), "H5Sselect_hyperslab");
    ok(H5Dwrite(dataset, type, memory, space, H5P_DEFAULT, piece.data()), "H5Dwrite");
    begin += count;
  }
  dataset.close("H5Dclose");
}

ColumnInfo scan_column(hid_t file, const std::string& name, std::uint64_t file_bytes) {
  H5L_info_t link;
  ok(H5Lget_info(file, name.c_str(), &link, H5P_DEFAULT), "H5Lget_info");
  if (link.type != H5L_TYPE_HARD) throw Failure{"it is a soft or external link"};
  Handle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, "not a dataset");
  Handle create(H5Dget_create_plist(dataset), H5Pclose, "H5Dget_create_plist");
  if (H5Pget_layout(create) != H5D_CONTIGUOUS) throw Failure{"its data are not contiguous"};
  if (H5Pget_external_count(create) != 0) throw Failure{"its data lie in another file"};
  Handle type(H5Dget_type(dataset), H5Tclose, "H5Dget_type");
  Handle space(H5Dget_space(dataset), H5Sclose, "H5Dget_space");
  const int rank = ok(H5Sget_simple_extent_ndims(space), "H5Sget_simple_extent_ndims");
  if (rank < 1 || rank > kMaxRank) throw Failure{fmt::format("it has {} dimensions", rank)};
  std::array<hsize_t, kMaxRank> dims{};
  ok(H5Sget_simple_extent_dims(space, dims.data(), nullptr), "H5Sget_simple_extent_dims");

  ColumnInfo info;
  info.dtype = dtype_of(type);
  std::uint64_t bytes = core::size_of(info.dtype);
  for (int axis = 0; axis < rank; ++axis) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(dims[axis]), &bytes) ||
        dims[axis] > (hsize_t{1} << 62))
      throw Failure{"its size overflows"};
    info.shape.push_back(static_cast<std::int64_t>(dims[axis]));
  }
  if (bytes == 0) {
    // Rows of no bytes cost nothing in the file and a hash each when they are read.
    if (dims[0] != 0) throw Failure{fmt::format("its {} rows have no bytes", dims[0])};
    return info;
  }
  const haddr_t offset = H5Dget_offset(dataset);
  if (offset == HADDR_UNDEF || H5Dget_storage_size(dataset) != bytes || offset > file_bytes ||
      bytes > file_bytes - offset)
    throw Failure{fmt::format("its {} bytes do not lie inside the file", bytes)};
  info.offset = offset;
  return info;
}

// Names come in the library's own order: sorting many of them itself, it frees what it never had when a read fails.
constexpr H5_iter_order_t kAnyOrder = H5_ITER_NATIVE;

std::vector<std::string> link_names(hid_t file) {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  ok(H5Literate(file, H5_INDEX_NAME, kAnyOrder, nullptr, collect, &names), "H5Literate");
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> attribute_names(hid_t file) {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  ok(H5Aiterate2(file, H5_INDEX_NAME, kAnyOrder, nullptr, collect, &names), "H5Aiterate");
  return names;
}

template <class Open>
void write_to(const std::filesystem::path& path, const std::vector<const Column*>& columns,
              const std::map<std::string, std::string>& attributes, Open open) {
  const std::scoped_lock lock(library_lock());
  const QuietErrors quiet;
  try {
    Handle access = access_list();
    // One fixed format: object headers with checksums, readable by every HDF5 since 1.10.
    ok(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), "H5Pset_libver_bounds");
    ok(H5Pset_alignment(access, 1, kAlignment), "H5Pset_alignment");
    ok(H5Pset_small_data_block_size(access, 0),
       "H5Pset_small_data_block_size");  // small columns are aligned, too
    Handle file = open(access);
    for (const auto& [name, value] : attributes) write_attribute(file, name, value);
    for (const Column* column : columns) write_column(file, *column);
    ok(H5Fflush(file, H5F_SCOPE_LOCAL), "H5Fflush");
    file.close("H5Fclose");
  } catch (const Failure& failure) {
    if (failure.error_number != 0)
      core::errno_error(failure.error_number, "{}: cannot be written", path.string());
    core::system_error("{}: cannot be written ({})", path.string(), failure.message);
  }
}

}  // namespace

void create_hdf5(const std::filesystem::path& path, const std::vector<const Column*>& columns,
                 const std::map<std::string, std::string>& attributes) {
  write_to(path, columns, attributes, [&](hid_t access) {
    Handle create(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "H5Pcreate");
    ok(H5Pset_obj_track_times(create, false), "H5Pset_obj_track_times");
    return Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, create, access), H5Fclose, "H5Fcreate");
  });
}

void extend_hdf5(const std::filesystem::path& path, const std::vector<const Column*>& columns,
                 const std::map<std::string, std::string>& attributes) {
  write_to(path, columns, attributes, [&](hid_t access) {
    return Handle(H5Fopen(path.c_str(), H5F_ACC_RDWR, access), H5Fclose, "H5Fopen");
  });
}

Hdf5Scan scan_hdf5(const std::filesystem::path& path) {
  const std::scoped_lock lock(library_lock());
  const QuietErrors quiet;
  std::string at;
  try {
    const std::uint64_t file_bytes = core::input_bytes(path).value_or(0);
    Handle access = access_list();
    Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose, "H5Fopen");
    Hdf5Scan scan;
    const std::vector<std::string> names = link_names(file);
    if (names.size() > kMaxColumns) throw Failure{fmt::format("it has {} columns", names.size())};
    for (const std::string& name : names) {
      at = fmt::format("column `{}`: ", name);
      scan.columns.emplace(name, scan_column(file, name, file_bytes));
    }
    at.clear();
    for (const std::string& name : attribute_names(file))
      scan.attributes[name] = read_attribute(file, name.c_str(), file_bytes);
    return scan;
  } catch (const Failure& failure) {
    if (failure.error_number != 0)
      core::input_error(failure.error_number, "{}: cannot be read", path.string());
    core::user_error("{}: not a readable shard ({}{}); run `doctor verify` on its folder, or make it again",
                     path.string(), at, failure.message);
  }
}

}  // namespace microdit::store
