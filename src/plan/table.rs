//! The plan as people read it: `--dry-run`.

use super::{Plan, PlannedTensor};
use crate::advice::in_short;
use crate::scheme::Scheme;
use crate::text::{Column, Left, Table, exact_size, grouped, left, printable, shape, size};
use std::fmt::Write;

impl Plan {
    /// A table of the tensors to quantize, one of the others, the outputs with their exact sizes, totals
    /// and warnings. Names and notes are shortened to fit `width` columns, if there is a terminal.
    pub fn to_text(&self, width: Option<usize>) -> String {
        let mut table = Table::new(vec![
            Column::left("tensor").shrink_to(32),
            Column::left("type").optional(),
            Column::left("shape").optional(),
            Column::left("scheme"),
            Column::left("chosen by").cut_to(10),
            Column::right("before").optional(),
            Column::right("after"),
            Column::right("bits/w"),
            Column::left("notes").cut_to(12),
        ]);
        let (chosen, rest): (Vec<_>, Vec<_>) = self.tensors.iter().partition(|t| t.is_quantized());
        for tensor in &chosen {
            table.row(vec![
                tensor.name.clone(),
                tensor.dtype.clone(),
                shape(&tensor.shape),
                scheme_word(tensor.scheme),
                tensor.rule.to_string(),
                size(tensor.bytes_before),
                size(tensor.bytes_after),
                tensor.bits_per_weight().map_or("–".into(), |bits| format!("{bits:.2}")),
                tensor.notes.join("; "),
            ]);
        }
        let mut out = String::new();
        if !chosen.is_empty() {
            out.push_str(&table.render(width));
            out.push('\n');
        }
        if !rest.is_empty() {
            let rest: Vec<_> = rest.into_iter().map(as_left).collect();
            out.push_str(&left(&rest).render(width));
            out.push('\n');
        }
        if let Some(model) = &self.model {
            let _ = writeln!(out, "model: {}", printable(model));
        }
        out.push_str(&self.totals(width));
        self.int8_path.iter().for_each(|package| out.push_str(&package.to_text(width)));
        out.push_str(&in_short(&self.remarks, width));
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {}", printable(warning));
        }
        out
    }

    fn totals(&self, width: Option<usize>) -> String {
        let sum = |of: fn(&PlannedTensor) -> u64| {
            self.tensors.iter().map(of).fold(0, u64::saturating_add)
        };
        let quantized = self.tensors.iter().filter(|t| t.is_quantized()).count();
        let copied = self.tensors.iter().filter(|t| t.scheme.is_none()).count();
        let float = self.tensors.len() - quantized - copied;
        let (before, after) = (sum(|t| t.bytes_before), sum(|t| t.bytes_after));
        let mut out = format!(
            "{} tensors: {quantized} quantized, {float} in float, {copied} copied\n",
            self.tensors.len()
        );
        let _ = writeln!(out, "weights: {} → {}", exact_size(before), exact_size(after));
        if let Some(bits) = self.bits_per_weight() {
            let _ = writeln!(out, "bits per weight: {bits:.3}");
        }
        if !self.outputs.is_empty() {
            let mut table = Table::new(vec![
                Column::left("output"),
                Column::left("file").shrink_to(16),
                Column::right("bytes"),
                Column::right("").optional(),
            ]);
            for output in &self.outputs {
                let cells = [
                    output.kind.to_string(),
                    output.path.clone(),
                    grouped(output.bytes),
                    size(output.bytes),
                ];
                table.row(cells.to_vec());
            }
            let total = self.outputs.iter().map(|o| o.bytes).fold(0, u64::saturating_add);
            table.row(vec!["total".into(), String::new(), grouped(total), size(total)]);
            out.push('\n');
            out.push_str(&table.render(width));
        }
        if self.peak_memory_bytes > 0 {
            let _ = writeln!(out, "peak memory, estimated: {}", exact_size(self.peak_memory_bytes));
        }
        out
    }

    /// Stored bits a weight over all tensors that are not copied; `None` if there are none.
    pub fn bits_per_weight(&self) -> Option<f64> {
        let stored = self.tensors.iter().filter(|t| t.scheme.is_some());
        let (elements, bytes) = stored.fold((0u64, 0u64), |(elements, bytes), t| {
            (elements.saturating_add(t.elements), bytes.saturating_add(t.bytes_after))
        });
        (elements > 0).then(|| bytes as f64 * 8.0 / elements as f64)
    }
}

fn as_left(tensor: &PlannedTensor) -> Left<'_> {
    Left {
        name: &tensor.name,
        dtype: &tensor.dtype,
        shape: &tensor.shape,
        stored_as: scheme_word(tensor.scheme),
        rule: tensor.rule.to_string(),
        before: tensor.bytes_before,
        after: tensor.bytes_after,
        notes: &tensor.notes,
    }
}

fn scheme_word(scheme: Option<Scheme>) -> String {
    scheme.map_or("copied".into(), |scheme| scheme.to_string())
}

#[cfg(test)]
mod tests {
    use crate::plan::{Header, Options, Output, Plan, PlannedOutput, Rule};

    fn plan() -> Plan {
        let header = |name: &str, dtype: &str, shape: &[usize], size: u64| Header {
            name: name.into(),
            file: "model.safetensors".into(),
            dtype: dtype.into(),
            shape: shape.to_vec(),
            bytes: shape.iter().product::<usize>() as u64 * size,
            role: None,
            keeps_type: false,
        };
        let headers = [
            header("model.layers.0.self_attn.q_proj.weight", "BF16", &[2048, 2048], 2),
            header("model.layers.0.mlp.weight", "F32", &[64, 172], 4),
            header("model.norm.weight", "BF16", &[2048], 2),
            header("ids", "I64", &[7], 8),
        ];
        let rules = ["mlp=linear-int4,block:32", "experts=palette-4"];
        let options = Options {
            rules: rules.iter().map(|r| Rule::parse(r).unwrap()).collect(),
            ..Options::default()
        };
        let mut plan = Plan::new(&headers, &options).unwrap();
        let output = |kind, path: &str, bytes| PlannedOutput { kind, path: path.into(), bytes };
        plan.outputs = vec![
            output(
                Output::Mlpackage,
                "m.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
                4_210_112,
            ),
            output(Output::Metal, "m.metal/weights.safetensors", 4_227_072),
        ];
        plan.peak_memory_bytes = 100_000_000;
        plan
    }

    #[test]
    fn a_dry_run_prints_the_whole_plan() {
        insta::assert_snapshot!(plan().to_text(None), @r"
        tensor                                  type  shape         scheme               chosen by                            before     after  bits/w  notes
        model.layers.0.self_attn.q_proj.weight  BF16  [2048, 2048]  linear-int8          default                             8.0 MiB   4.0 MiB    8.01
        model.layers.0.mlp.weight               F32   [64, 172]     linear-int4,block:4  --rule 'mlp=linear-int4,block:32'  43.0 KiB  10.8 KiB    8.00  block:32 does not divide 172 → block:4 (largest divisor ≥ 4)

        not quantized      type  shape   stored as  chosen by   before    after  why
        model.norm.weight  BF16  [2048]  float16    rank < 2   4.0 KiB  4.0 KiB  rank 1: codes need rows and columns
        ids                I64   [7]     copied     not float     56 B     56 B  I64 is not F16, BF16 or F32: copied as it is

        4 tensors: 2 quantized, 1 in float, 1 copied
        weights: 8.0 MiB (8,436,792 bytes) → 4.0 MiB (4,213,560 bytes)
        bits per weight: 8.012

        output     file                                                      bytes
        mlpackage  m.mlpackage/Data/com.apple.CoreML/weights/weight.bin  4,210,112  4.0 MiB
        metal      m.metal/weights.safetensors                           4,227,072  4.0 MiB
        total                                                            8,437,184  8.0 MiB
        peak memory, estimated: 95.4 MiB (100,000,000 bytes)
        warning: --rule 'experts=palette-4' matches no tensor
        ");
        insta::assert_snapshot!(plan().to_text(Some(100)).lines().take(6).collect::<Vec<_>>().join("\n"), @r"
        tensor                            scheme               chosen by         after  bits/w  notes
        …ayers.0.self_attn.q_proj.weight  linear-int8          default         4.0 MiB    8.01
        model.layers.0.mlp.weight         linear-int4,block:4  --rule 'mlp=…  10.8 KiB    8.00  block:32 do…

        not quantized      type  shape   stored as  chosen by   before    after  why
        model.norm.weight  BF16  [2048]  float16    rank < 2   4.0 KiB  4.0 KiB  rank 1: codes need rows an…
        ");
    }

    #[test]
    fn a_plan_for_machines_says_the_same() {
        let json = serde_json::to_value(plan()).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&json["tensors"][1]).unwrap(), @r#"
        {
          "name": "model.layers.0.mlp.weight",
          "file": "model.safetensors",
          "dtype": "F32",
          "shape": [
            64,
            172
          ],
          "scheme": "linear-int4,block:4",
          "requested": "linear-int4,block:32",
          "rule": "--rule 'mlp=linear-int4,block:32'",
          "notes": [
            "block:32 does not divide 172 → block:4 (largest divisor ≥ 4)"
          ],
          "elements": 11008,
          "bytes_before": 44032,
          "bytes_after": 11008
        }
        "#);
        insta::assert_snapshot!(json["outputs"][0], @r#"{"kind":"mlpackage","path":"m.mlpackage/Data/com.apple.CoreML/weights/weight.bin","bytes":4210112}"#);
        assert_eq!(json["peak_memory_bytes"], 100_000_000);
        assert_eq!(json["options"]["scheme"], "linear-int8");
    }
}
