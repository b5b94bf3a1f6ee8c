from tidegate.assembly.problems import ConfigError, Problem, did_you_mean, field_path


def test_a_problem_reads_as_file_line_field_reason_and_remedy() -> None:
    problem = Problem("http.yaml", 12, "routes[0].match.path", "a path begins with /", "write /orders")
    assert str(problem) == "http.yaml:12: routes[0].match.path: a path begins with /  fix: write /orders"


def test_what_is_not_known_about_a_problem_is_left_out() -> None:
    assert str(Problem("http.yaml", 0, "", "is empty")) == "http.yaml: is empty"


def test_an_error_says_all_its_problems() -> None:
    error = ConfigError([Problem("a", 1, "x", "is bad"), Problem("b", 2, "y", "is worse")])
    assert str(error) == "a:1: x: is bad\nb:2: y: is worse"
    assert len(error.problems) == 2


def test_a_field_path_is_written_as_in_code() -> None:
    assert field_path(("routes", 0, "filters", 2, "rate")) == "routes[0].filters[2].rate"
    assert field_path(()) == ""


def test_the_nearest_word_is_proposed_else_all_that_are_known() -> None:
    assert did_you_mean("upstreem", ["upstream", "split"]) == "did you mean upstream?"
    assert did_you_mean("Rout", ["route", "split"]) == "did you mean route?"
    assert did_you_mean("zzz", ["b", "a"]) == "known here: a b"
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("zzz", [f"name{i}" for i in range(50)]) == ""
