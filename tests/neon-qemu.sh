#!/bin/bash
# Builds the tests of linear quantization and of matrix products for aarch64 and runs them under qemu: the NEON
# kernels must give the same bits as the portable ones, products in f32 the same within their tolerance. Debian's rustc-web is used because it ships the standard library's
# source; RUSTC_BOOTSTRAP allows only -Zbuild-std, no crate here uses a nightly feature.
set -euo pipefail
cd "$(dirname "$0")/.."

packages="rustc-web rust-web-src gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
if ! dpkg -s $packages >/dev/null 2>&1; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages
fi

RUSTC="$(dpkg -L rustc-web | grep 'bin/rustc$')"
sys="$(dirname "$(dirname "$(readlink -f "$(aarch64-linux-gnu-gcc -print-file-name=libc.so.6)")")")"
export RUSTC RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/neon"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L $sys"
# Few cases: every instruction is emulated.
export PROPTEST_CASES="${PROPTEST_CASES:-50}"

test() { cargo test -q -Zbuild-std --target aarch64-unknown-linux-gnu "$@"; }
test --no-default-features --lib -- quantize::array quantize::grid metrics:: runtime::cpu::matrix
test --no-default-features --test linear
