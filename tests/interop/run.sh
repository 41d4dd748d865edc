#!/usr/bin/env bash
# Converts the fixtures with every scheme and target and lets coremltools check each package.
#
#   tests/interop/run.sh PYTHON [SHARED]
#
# PYTHON has coremltools, numpy and safetensors. SHARED, where it exists, adds other people's
# checkpoints and a strict package checker.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1
shared=${2:-}
quantize=target/release/quantize
cargo build -q --release --locked --bin quantize
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

all="linear-int8 linear-int8,tensor linear-int8,asymmetric linear-int8,tensor,asymmetric
  linear-int8,axis:1 linear-int8,axis:1,asymmetric palette-8 palette-6 palette-4 palette-2 palette-1
  palette-4,channel-scale float16 float32"
new="linear-int8,block:16 linear-int8,block:32,asymmetric linear-int4 linear-int4,tensor
  linear-int4,asymmetric linear-int4,block:16 linear-int4,block:32,asymmetric
  palette-3 palette-4,group:1 palette-4,group:8 palette-8,group:16 palette-4,group:8,axis:1
  palette-4,vector:2 palette-4,vector:4 palette-6,vector:2,axis:1 palette-4,vector:2,group:16
  palette-4,lut-int8 palette-6,group:8,lut-int8 palette-8,lut-int8,vector:2 palette-3,group:1,lut-int8
  palette-4,channel-scale,lut-int8 palette-6,group:8,channel-scale"

convert() { # INPUT TARGET SCHEMES...
  local input=$1 target=$2; shift 2
  for scheme in "$@"; do
    "$quantize" -q --scheme "$scheme" --target "$target" --min-elements 512 \
      --layer-package --to mlpackage,metal,dense -o "$out/$target/$(basename "$input" .safetensors)/$scheme" "$input"
  done
}

inputs="fixtures/digits.safetensors fixtures/digits-conv"
for input in $inputs; do
  for target in ios16 ios17; do convert "$input" $target $all; done
  for target in ios18 ios26; do convert "$input" $target $all $new; done
done
for target in ios16 ios18 ios26; do
  convert fixtures/edges.safetensors $target linear-int8 palette-4
done
convert fixtures/edges.safetensors ios18 linear-int4,block:32 palette-6,group:8 palette-4,vector:2 \
  palette-4,channel-scale

# Few distinct values in one tensor: lossless. The other lane orders change the blob alone.
"$quantize" -q --scheme float16 --rule '^few=palette-3,unique' --to mlpackage,metal,dense \
  -o "$out/unique" fixtures/edges.safetensors
for layout in k4 o2 row; do
  "$quantize" -q --layout $layout --to mlpackage,metal,dense -o "$out/$layout" fixtures/digits.safetensors
done

# Whole models.
model() { # NAME OPTIONS...
  local name=$1; shift
  "$quantize" -q --min-elements 512 --to mlpackage,dense -o "$out/models/$name/${*// /}" "$@" \
    "fixtures/tiny/$name"
}
for name in gemma2 gemma3 llama llama-linear llama-yarn mistral phi3 phi3-longrope qwen2 qwen3 smollm3; do
  for scheme in linear-int8 palette-4 linear-int4,block:4; do
    model $name --scheme $scheme --context 48 --prefill-chunk 8
  done
  model $name --scheme palette-6 --target ios16 --context 48
  model $name --scheme linear-int8 --unit ane --context 48 --prefill-chunk 8
  model $name --scheme linear-int8 --prefill-logits all --context 48 --prefill-chunk 8
  for target in ios16 ios18; do
    model $name --scheme linear-int8 --names swift-transformers --target $target --context 48
  done
  model $name --scheme linear-int8 --chunks 2 --context 48 --prefill-chunk 8
  for target in ios16 ios18; do
    model $name --scheme palette-4 --unit ane --kv io --chunks 2 --target $target --context 48 --prefill-chunk 8
  done
  model $name --scheme palette-4 --unit ane --chunks 2 --context 48 --prefill-chunk 8
  for target in ios16 ios18; do
    model $name --scheme palette-6 --unit ane --kv io --argmax --target $target --context 48 --prefill-chunk 8
  done
done
for name in bert-prefix roberta sentence-bert vit resnet-basic; do
  model $name --scheme linear-int8 --unit ane
done
for name in bert bert-prefix roberta distilbert sentence-bert sentence-roberta; do
  for target in ios16 ios18; do
    model $name --scheme linear-int8 --target $target
    model $name --scheme palette-4 --target $target
  done
done

if [ -d "$shared/fixtures" ]; then
  for model in stories260k/model variants/stories260k_f32 variants/stories260k_bf16 resnet20/resnet20_f16; do
    convert "$shared/fixtures/$model.safetensors" ios18 linear-int8 linear-int4,block:32 palette-4,group:8
    convert "$shared/fixtures/$model.safetensors" ios16 linear-int8 palette-6
  done
  convert "$shared/fixtures/variants/sharded_f16" ios18 linear-int8
fi

mapfile -t folders < <(find "$out" -name report.json -printf '%h\n' | sort)
"$python" tests/interop/compare.py "${folders[@]}"

# INT8 activations where coremltools would put them.
packages=$out/packages.d
"$python" tests/interop/pairs.py "$quantize" "$packages/pairs" "$shared"

# Packages of coremltools, compressed.
if [ -d "$shared/fixtures" ]; then
  for package in "$shared"/fixtures/coreml/*/model.mlpackage; do
    name=$(basename "$(dirname "$package")")
    for scheme in linear-int8 palette-4; do
      "$quantize" -q --scheme $scheme --min-elements 256 --to mlpackage,dense \
        -o "$packages/$name/$scheme" "$package"
      "$quantize" validate -q "$packages/$name/$scheme" --against "$package" --skip-speed --on cpu
    done
  done
  # Compressed ones, compressed anew.
  for package in "$shared"/fixtures/coreml/q/*/model.mlpackage; do
    name=$(basename "$(dirname "$package")")
    for scheme in linear-int8 palette-4; do
      "$quantize" -q --requantize --scheme $scheme --min-elements 1 --to mlpackage,dense \
        -o "$packages/q-$name/$scheme" "$package"
    done
  done
fi

if [ -f "$shared/tools/check_mlpackage.py" ]; then
  mapfile -t compressed < <(find "$packages" -name report.json -printf '%h\n' | sort)
  # Packages of coremltools, read and written again.
  TWOLANE_SHARED=$shared TWOLANE_PYTHON=$python cargo test -q --locked --test shared programs
  "$python" tests/interop/strict.py "$shared/tools/check_mlpackage.py" "${folders[@]}" "${compressed[@]}"
else
  echo "skipped: no strict checker beside the repository"
fi
