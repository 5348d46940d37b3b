import pytest

from bilearn.experiment import (
    ConfigError,
    load_config,
    load_task,
    parse_config,
    parse_task,
    recipe_names,
    recipe_text,
    to_toml,
)

MINIMAL = '[data]\nsource = "skimage"\ntrain = 3\n'


def parse(text, *overrides):
    return parse_config(text, "my.toml", "my", overrides)


def mistakes(text, *overrides):
    with pytest.raises(ConfigError) as caught:
        parse(text, *overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_valid_and_survive_a_round_trip(name):
    config = load_task(name)
    assert config.name == name
    assert config.description
    assert parse_task(to_toml(config), "my.toml", "my") == config


def test_defaults_are_those_of_denoising():
    config = parse(MINIMAL)
    assert config.name == "my"
    assert (config.physics.kind, config.noise.kind, config.regularizer.kind) == ("identity", "gaussian", "smoothed-tv")
    assert parse(to_toml(config)) == config


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[nois]\nsigma = 1\n", "my.toml: unknown key 'nois' at the top level; did you mean 'noise'?"),
        ("[physics]\nkind = 'blur'\nsigmaa = 2\n", "my.toml: unknown key 'sigmaa' in [physics]; did you mean 'sigma'?"),
        ("[noise]\nkind = 'gausian'\n", "my.toml: noise.kind: found 'gausian'; did you mean 'gaussian'?"),
        ("[noise]\nsigma = 'x'\n", "my.toml: noise.sigma: found 'x', expected a number"),
        ("[noise]\nsigma = -1\n", "my.toml: noise.sigma: found -1, expected greater than or equal to 0"),
        ("[run]\ndtype = 'float16'\n", "my.toml: run.dtype: found 'float16'; did you mean 'float64'?"),
        ("[run]\nseed = 'x'\n", "my.toml: run.seed: found 'x', expected an integer"),
        ("[penalty]\nkind = 'l1'\n", "my.toml: penalty.weight is missing; add it"),
        ("[penalty]\nweight = 1\n", "my.toml: penalty.kind is missing; add it"),
        (
            "[regularizer]\nalpha = { strat = 1 }\n",
            "my.toml: unknown key 'strat' in [regularizer.alpha]; did you mean 'start'?",
        ),
        (
            "[regularizer]\nalpha = { start = 1.0, bounds = [2.0, 3.0] }\n",
            "my.toml: regularizer.alpha: start: found 1, expected a number in bounds = [2, 3]",
        ),
        (
            "[regularizer]\nkind = 'sum'\n[[regularizer.terms]]\nkind = 'tikhonov'\nbeta = 2\n",
            "my.toml: unknown key 'beta' in [regularizer.terms[0]]; expected one of kind, alpha",
        ),
        ("[run]\npatience = 3\n", "my.toml: run.patience needs validation images; set data.validation"),
        (
            "[optimizer]\nkind = 'grid'\n[hypergradient]\nkind = 'unrolled'\n",
            "my.toml: hypergradient.kind = 'unrolled' is not used by optimizer.kind = 'grid'; "
            "choose optimizer.kind = 'lbfgsb' or 'torch'",
        ),
    ],
)
def test_every_mistake_is_one_sentence(text, sentence):
    assert mistakes(MINIMAL + text) == [sentence]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ("", "folder is missing; name the folder"),
        ('source = "phantoms"', "train is missing; say how many phantoms"),
        ('source = "skimage"\nfolder = "x"', "folder is given together with source"),
        ('folder = "x"\nmeasurements = "y"\ncrop = 3', "measurements cannot be combined with crop"),
    ],
)
def test_data_section_that_does_not_fit_together(data, part):
    (sentence,) = mistakes(f"[data]\n{data}\n")
    assert sentence.startswith("my.toml: data: ")
    assert part in sentence


def test_several_mistakes_give_several_sentences():
    assert len(mistakes(MINIMAL + "[noise]\nsigmo = 1\n[run]\nsede = 1\n")) == 2


def test_numbers_are_fixed_and_tables_are_learned():
    text = MINIMAL + "[regularizer]\nalpha = 0.3\nnu = { start = 0.02 }\nxi = { learn = false }\n"
    terms = parse(text).regularizer
    assert (terms.alpha.start, terms.alpha.learn) == (0.3, False)
    assert (terms.nu.start, terms.nu.learn, terms.nu.bounds) == (0.02, True, (1e-4, 1.0))
    assert (terms.xi.start, terms.xi.learn) == (1e-3, False)


def test_overrides_reach_every_section():
    config = parse(
        MINIMAL,
        "noise.sigma=0.2",
        "run.seed=7",
        "physics.kind=blur",
        "regularizer.alpha.start=0.5",
        'data.names=["camera", "moon"]',
    )
    assert config.noise.sigma == 0.2
    assert config.run.seed == 7
    assert config.physics.kind == "blur"
    assert config.regularizer.alpha.start == 0.5
    assert config.data.names == ["camera", "moon"]
    assert "expected section.key=value" in mistakes(MINIMAL, "noise.sigma")[0]
    assert "name is not a section" in mistakes('name = "a"\n' + MINIMAL, "name.x=1")[0]


def test_folders_are_relative_to_the_file_and_overrides_to_the_working_directory(tmp_path, monkeypatch):
    file = tmp_path / "sub" / "my.toml"
    file.parent.mkdir()
    file.write_text('[data]\nfolder = "images"\n')
    monkeypatch.chdir(tmp_path)
    assert load_config(file).data.folder == str(tmp_path / "sub" / "images")
    assert load_config(file, ["data.folder=other"]).data.folder == str(tmp_path / "other")


def test_files_and_recipes_that_do_not_exist(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.toml: no such file"):
        load_config(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="recipe 'denoise-photo': no such recipe; did you mean 'denoise-photos'"):
        recipe_text("denoise-photo")
    broken = tmp_path / "broken.toml"
    broken.write_text("[data\n")
    with pytest.raises(ConfigError, match=r"broken\.toml: not valid TOML: .*line 1"):
        load_config(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load_config(broken)
