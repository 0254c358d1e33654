/*
 * The kernels, compiled once per instruction set: CSRN_ISA_NAME is its name and
 * CSRN_ISA_SUFFIX what its table is called after. All of it is plain C that every
 * instruction set turns into the same bits; what little is written with intrinsics lies
 * in kernel_vector*.h and gives these bits too.
 */
#include "kernel_load.h"

#include "kernel_columns.h"
#include "kernel_sums.h"
#include "kernel_transform.h"

#define JOIN(a, b)         a##b
#define TABLE_NAME(suffix) JOIN(csrn_kernels_, suffix)

#define ROW_SUMS(code, type, name)       [code] = row_sums_##name,
#define TRANSFORM_ROWS(code, type, name) [code] = transform_rows_of_##name,
#define CHECK_INDICES(code, type, name)  [code] = check_indices_##name,
#define ROW_SUMS_EXCLUDING(code, name, index_code, index_name)                                               \
  [code][index_code] = row_sums_excluding_##name##_##index_name,
#define TRANSFORM_COLUMNS(code, name, index_code, index_name)                                                \
  [code][index_code] = transform_columns_##name##_##index_name,
#define MARK_COLUMNS(code, name, index_code, index_name)                                                     \
  [code][index_code] = mark_columns_##name##_##index_name,
#define MARK_ROWS(code, name, index_code, index_name) [code][index_code] = mark_rows_##name##_##index_name,
#define COLUMN_COUNTS(code, name, index_code, index_name)                                                    \
  [code][index_code] = column_counts_##name##_##index_name,
#define COLUMN_LIMBS(code, name, index_code, index_name)                                                     \
  [code][index_code] = column_limbs_##name##_##index_name,

const csrn_kernels TABLE_NAME(CSRN_ISA_SUFFIX) = {
    .isa = CSRN_ISA_NAME,
    .row_sums = {DATA_TYPES(ROW_SUMS)},
    .row_sums_excluding = {PAIRS(ROW_SUMS_EXCLUDING)},
    .transform_rows = {DATA_TYPES(TRANSFORM_ROWS)},
    .transform_columns = {PAIRS(TRANSFORM_COLUMNS)},
    .mark_columns = {PAIRS(MARK_COLUMNS)},
    .mark_rows = {PAIRS(MARK_ROWS)},
    .column_counts = {PAIRS(COLUMN_COUNTS)},
    .column_limbs = {PAIRS(COLUMN_LIMBS)},
    .largest = {[CSRN_F32] = largest_f32, [CSRN_F64] = largest_f64},
    .check_indices = {INDEX_TYPES(CHECK_INDICES)},
};
