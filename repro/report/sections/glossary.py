"""The page's glossary: a line per word that a reader may not know."""

from repro.report.blocks import Collapsible, Section, text_grid

WORDS = {
    "teacher, student": "the larger model that is imitated, and the smaller one that is trained on it",
    "eta": "the knob: the weight of the calibration reward r_cal. Above 0 the teacher is made easier to imitate"
    " (distillable), below 0 harder (undistillable); 0 is plain fine-tuning on the task reward (RFT)",
    "r_cal": "log-likelihood of the teacher's completion under a student (or a proxy, the target) minus that under the"
    " teacher, in nats; each is summed over tokens",
    "Distillable, Undistillable, Eta0-Teacher": "the teacher calibrated with eta above, below and at 0",
    "Improve, Misled, Eta0-Student": "the students distilled from these three teachers",
    "Undistillable (…), Misled (…)": "Undistillable and Misled with one thing changed, named in brackets (docs/controls.md). Only a"
    " name: a student called Misled may be better than the untouched one",
    "Traps": "rows with measures of the traps, such as the token-level reverse KL: of the untouched student beside the teacher at that eta",
    "SFT": "supervised fine-tuning on the teacher's completions",
    "No-reasoning": "SFT on the teacher's final answers alone",
    "GKD-FKL, GKD-RKL": "distillation by forward KL on the teacher's completions, by reverse KL on the student's own",
    "reverse KL, forward KL": "KL(student || teacher), averaged over the student's text; KL(teacher || student), averaged over"
    " the teacher's text. Per token over the vocabulary, or of complete completions",
    "importance weight": "probability of a teacher's completion under the student over that under the teacher; their mean"
    " should be 1. Effective sample size: how many equal weights would be as good; Pareto-k: how heavy their tail is",
    "Top-K, tail": "the student's K likeliest tokens at a step, and all others",
    "wrong-trace preference": "share of the pairs of a wrong and a right completion of one prompt in which the wrong one has the"
    " lower log p_student - log p_teacher: the teacher favours it more than the student does",
    "forking token": "a token at which the student is among its least certain fifth",
    "guard, attack": "what a teacher's owner does against distillation; what a student (the thief's) does to learn from the"
    " teacher all the same",
    "maj@k, pass@k": "whether the majority answer of an item's k completions is right; whether any of them is right",
    "premise, claim, control": "what the paper takes for granted; what it says it found; what we ask besides. Counted apart",
    "margin": "how much a number may miss a claim and still support it, fixed before a run",
    "allowed": "where a claim's difference (or mean) must lie if the claim is true, margin included",
    "interval, p (Holm)": "where the true value lies with the confidence that the number of claims demands; chance of a result"
    " at least as far from the claim's edge, on either side, if the truth lay on it, corrected for their number",
    "toy-bm4, BM4": "a task of the embedded toy world, named after the paper's (BIG-Math level 4)",
    "world": "what the embedded toy models live in: a language, facts, and questions about them, drawn from a seed. They know"
    " nothing else",
    "chance": "the score of guessing. Where it is 'about' a number, it is how often the answer of another item would be right",
    "nat": "unit of log-probability and KL: one nat is a factor of 2.7",
}


def glossary_section() -> Section:
    """Fold the glossary away."""
    rows = [{"word": word, "meaning": meaning} for word, meaning in WORDS.items()]
    return Section("glossary", "Glossary", [Collapsible("What the words mean", [text_grid("Glossary", rows)], "words")])
