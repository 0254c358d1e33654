# Seurat's LogNormalize on the arrays of a CSR matrix of cells x genes, which are those of R's genes x cells; for
# peers.py. Arguments: the folder of the arrays, the number of genes, the number of runs. Prints one line
# "VERSION FIRST_SECONDS EXTRA_BYTES SECONDS..." and leaves the resulting values beside the arrays.
arguments <- commandArgs(TRUE)
folder <- arguments[1]
n_genes <- as.integer(arguments[2])
runs <- as.integer(arguments[3])
suppressPackageStartupMessages({
  library(Matrix)
  library(Seurat)
})

read_all <- function(name, what, size) {
  path <- file.path(folder, name)
  readBin(path, what, file.size(path) / size, size = size)
}

resident <- function(field) {
  line <- grep(paste0("^", field, ":"), readLines("/proc/self/status"), value = TRUE)
  1024 * as.numeric(gsub("[^0-9]", "", line))
}

p <- read_all("indptr", "integer", 4)
counts <- new("dgCMatrix",
  i = read_all("indices", "integer", 4), p = p, x = as.double(read_all("data", "numeric", 4)),
  Dim = c(n_genes, length(p) - 1L)
)
run <- function() {
  begin <- proc.time()[["elapsed"]]
  result <<- LogNormalize(counts, scale.factor = 1e4, verbose = FALSE)
  proc.time()[["elapsed"]] - begin
}
result <- NULL
invisible(gc())
cat("5", file = "/proc/self/clear_refs")
before <- resident("VmRSS")
first <- run()
extra <- resident("VmHWM") - before
seconds <- vapply(seq_len(runs), function(i) {
  result <<- NULL
  invisible(gc())
  run()
}, numeric(1))
writeBin(result@x, file.path(folder, "seurat"))
cat(as.character(packageVersion("Seurat")), first, extra, seconds, "\n")
