//! Plots of block characters: eight levels a character, so eight rows tell 64 heights apart.

/// Blocks from an eighth to a whole.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Parts of a character from the left, from an eighth to a whole.
const PARTS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// A share, 0 to 1, as a bar from the left that is `width` characters long where the share is 1; none
/// but a true zero is empty.
pub fn bar(share: f64, width: usize) -> String {
    if share.is_nan() || share <= 0.0 {
        return String::new();
    }
    let most = width * PARTS.len();
    let eighths = ((share.min(1.0) * most as f64).round() as usize).clamp(1, most.max(1));
    let whole = eighths / PARTS.len();
    let part = (eighths % PARTS.len()).checked_sub(1).map(|part| PARTS[part]);
    std::iter::repeat_n(PARTS[7], whole).chain(part).collect()
}

/// Non-negative heights as columns, one character wide, `rows` high; the tallest fills all rows and
/// none but a true zero is empty. Lines end with a line feed; the top row comes first.
pub fn bars(heights: &[f64], rows: usize) -> String {
    let tallest = heights.iter().copied().filter(|h| h.is_finite()).fold(0.0, f64::max);
    let steps = |&height: &f64| {
        if tallest <= 0.0 || height.is_nan() || height <= 0.0 {
            return 0;
        }
        let most = rows * BLOCKS.len();
        ((height / tallest * most as f64).round() as usize).clamp(1, most)
    };
    let steps: Vec<usize> = heights.iter().map(steps).collect();
    let mut out = String::new();
    for row in (0..rows).rev() {
        let below = row * BLOCKS.len();
        let block = |&steps: &usize| match steps.saturating_sub(below) {
            0 => ' ',
            n => BLOCKS[n.min(BLOCKS.len()) - 1],
        };
        let line: String = steps.iter().map(block).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A curve `y(x)` through points in any order, drawn `width` columns wide and `rows` high: columns
/// from the lowest y to the highest, linear between points, and under the axis a `▲` at `marked`.
/// Lines end with a line feed. Fewer than two points with finite coordinates draw nothing.
pub fn curve(points: &[(f64, f64)], marked: f64, width: usize, rows: usize) -> String {
    let mut points: Vec<(f64, f64)> =
        points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 == b.0);
    let [(left, _), .., (right, _)] = points[..] else { return String::new() };
    if width < 2 {
        return String::new();
    }
    let at = |column: usize| left + (right - left) * column as f64 / (width - 1) as f64;
    let ys: Vec<f64> = (0..width).map(|column| between(&points, at(column))).collect();
    let low = ys.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ys.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // The lowest point still gets a sliver, or the curve would break off there.
    let floor = (high - low).max(f64::MIN_POSITIVE) / (rows * BLOCKS.len()) as f64;
    let heights: Vec<f64> = ys.iter().map(|y| y - low + floor).collect();
    let mut out = bars(&heights, rows);
    let share = ((marked - left) / (right - left)).clamp(0.0, 1.0);
    if !share.is_nan() {
        out.push_str(&" ".repeat((share * (width - 1) as f64).round() as usize));
        out.push_str("▲\n");
    }
    out
}

/// `y` at `x` on the line through the neighbours of sorted points.
fn between(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|p| p.0 <= x).clamp(1, points.len() - 1);
    let ((x0, y0), (x1, y1)) = (points[after - 1], points[after]);
    y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bar_grows_by_eighths() {
        let bars = [0.0, 1e-9, 0.125, 0.5, 0.53, 1.0, 2.0, f64::NAN].map(|share| bar(share, 4));
        assert_eq!(bars, ["", "▏", "▌", "██", "██▏", "████", "████", ""]);
    }

    #[test]
    fn columns_stand_in_eighths_of_a_row() {
        let heights: Vec<f64> = (0..=16).map(f64::from).collect();
        assert_eq!(bars(&heights, 2), "         ▁▂▃▄▅▆▇█\n ▁▂▃▄▅▆▇█████████\n");
        assert_eq!(bars(&[0.0, 1.0, 1e9], 1), " ▁█\n", "what is there shows");
        assert_eq!(bars(&[0.0, f64::NAN], 2), "\n\n");
    }

    #[test]
    fn a_curve_is_marked_where_the_choice_fell() {
        let points = [(0.5, 20.0), (0.75, 40.0), (1.0, 30.0)];
        insta::assert_snapshot!(curve(&points, 0.75, 21, 4), @r"
                ▂▅█▆▅▃▂
              ▄▇████████▇▅▄▂
           ▂▅████████████████
        ▁▄▇██████████████████
                  ▲
        ");
        assert_eq!(curve(&points[..1], 0.5, 20, 4), "");
        assert_eq!(curve(&[(1.0, 3.0), (2.0, 3.0)], f64::NAN, 3, 1), "███\n");
    }

    proptest! {
        #[test]
        fn any_numbers_draw_within_the_frame(
            points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..10), marked: f64,
        ) {
            let drawn = curve(&points, marked, 30, 5);
            prop_assert!(drawn.lines().count() <= 6);
            prop_assert!(drawn.lines().all(|line| line.chars().count() <= 30));
        }
    }
}
