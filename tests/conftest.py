"""A strict environment for every test: floating-point errors raise, no display, seeded randomness."""

import gc
import os
import sys

os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" in os.environ:
    # one process per core already: more BLAS threads than cores spin against each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("FPSOLVE_THREADS", "1")

# interpreters started by tests read what an earlier one has compiled of the sources
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

# what it does when it is imported is for `forks`
collect_ignore = ["loaded.py"]

# Derandomised: a failure found once is found again by everybody; new examples in the nightly command, which says how to
# draw one again. No deadline: the first call compiles.
NIGHTLY = bool(os.environ.get("FPSOLVE_NIGHTLY"))
settings.register_profile("fpsolve", deadline=None, derandomize=not NIGHTLY, print_blob=NIGHTLY, max_examples=50)
settings.load_profile("fpsolve")


@pytest.fixture(autouse=True)
def strict_floating_point() -> Iterator[None]:
    """Overflow, division by zero and invalid operations raise; underflow to zero is what tails do."""
    before = np.seterr(all="raise", under="ignore")
    yield
    np.seterr(**before)


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    """Matplotlib warns at the twenty-first open figure, in whichever test it happens to be."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with the same seed in every test; FPSOLVE_TEST_SEED takes another."""
    return np.random.default_rng(int(os.environ.get("FPSOLVE_TEST_SEED", "20240611")))


#: What takes more than about two seconds of its own on a free core, all its parameters together more than about five,
#: and the studies, which run whole: marked slow.
SLOW: dict[str, str] = {
    "test_accessor": """
        test_a_file_opened_by_xarray_has_its_accessor test_load_needs_no_xarray_and_loses_nothing
    """,
    "test_bounds_boxes": """
        test_a_ladder_refuses_a_start_that_the_box_does_not_hold
    """,
    "test_bounds_certificates": """
        test_a_ladder_allows_what_a_far_start_does test_constants_of_the_line_by_adaptive_quadrature
    """,
    "test_bounds_entropy": """
        test_girsanov_in_the_plane test_the_explicit_bound_covers_the_sampler_it_is_about
    """,
    "test_bounds_harris": """
        test_block_certificates_of_the_two_mode_example test_blocks_with_a_common_beta
        test_drift_at_256_squared_without_a_matrix
    """,
    "test_bounds_ladder": """
        test_a_halved_sigma_breaks_named_checks test_a_scaled_grid_follows_edm
        test_a_score_of_the_wrong_sign_breaks_named_checks
        test_another_norm_costs_its_ratio test_bad_requests_are_one_clear_sentence test_planes
        test_the_rungs_are_in_order
    """,
    "test_bounds_proved": """
        test_the_rung_is_a_theorem_above_the_distance
    """,
    "test_campaign": """
        test_a_cluster_behind_tls_takes_the_certificates_of_dasks_settings
        test_a_dask_cluster_gives_the_same_bits_as_serial test_a_worker_that_dies_is_told_of_in_one_sentence
        test_equal_values_have_equal_identities test_processes_give_the_same_bits_as_serial
        test_the_identity_is_the_same_in_every_process test_warnings_of_the_command_are_plain_lines
    """,
    "test_campaign_reads": """
        test_the_identity_of_what_is_read_is_the_same_in_every_process
    """,
    "test_characteristics": """
        test_a_line_agrees_with_the_transport_of_distribution_functions_within_the_estimate
        test_estimates_cover_at_many_times_and_for_narrow_starts
        test_plain_total_variation_is_constant_in_the_plane_and_the_marginals_are_carried
        test_plain_total_variation_is_constant_on_a_line test_the_budget_counts_what_trajectories_cost
        test_the_plane_agrees_with_the_formula_of_gaussians test_the_plane_in_the_scaled_frame
    """,
    "test_churn_limit": """
        test_the_difference_to_the_limit_falls_at_the_order_of_the_method
        test_what_is_remembered_of_the_start_has_first_order_and_the_limit_of_this_churn
    """,
    "test_cli": """
        test_python_m_fpsolve_is_the_same_command_and_listing_stays_light
    """,
    "test_cli_ends": """
        test_a_signal_ends_a_study_and_leaves_nothing test_what_the_shell_ignores_stays_ignored
    """,
    "test_closed_form": """
        test_cell_averages_in_the_plane test_independent_axes_in_the_plane
        test_integral_in_the_plane_from_the_marginal_gives_the_marginal test_random_problems_conserve_mass_and_compose
        test_student_target_in_the_plane
    """,
    "test_compile": """
        test_a_damaged_cache_is_compiled_anew test_a_full_disk_for_the_cache_is_not_fatal
        test_code_compiled_from_other_sources_is_not_run
        test_without_a_folder_that_can_be_written_it_runs_and_says_so_once
        test_without_compilation_it_gives_the_same_numbers
    """,
    "test_data": """
        test_the_forgetting_study_runs_on_the_users_own_data
    """,
    "test_decomposition": """
        test_discretization_falls_with_the_step_and_score_error_stays test_gaussian_recursion_gives_the_total
        test_negative_control_a_wrong_sign_score_is_a_score_error test_other_noise
        test_reference_numbers_of_the_ou_mixture test_the_bound_needs_its_contraction
        test_the_identity_closes_for_every_sampler
        test_the_total_of_six_hundred_cells_and_sixty_steps
    """,
    "test_distances": """
        test_inequalities_between_distances test_metrics test_order_six_where_the_plain_sum_has_order_two
    """,
    "test_distances_practice": """
        test_samples_in_1d test_samples_in_the_plane test_the_errors_cover_in_1d
        test_the_errors_cover_in_2d
    """,
    "test_evolution": """
        test_the_box_holds_what_a_start_far_from_home_spreads_to
        test_tolerance_is_met_and_the_estimate_is_honest_and_sharp
    """,
    "test_files": """
        test_a_full_disk_is_found_before_the_work test_a_full_disk_is_one_sentence_and_no_file
    """,
    "test_flows_density": """
        test_errors_cover_and_the_exact_flow_is_at_distance_zero test_evolution_on_cells_agrees
    """,
    "test_forgetting_curve": """
        test_what_the_box_once_threw_back_stays_in_the_error
    """,
    "test_from_log_density": """
        test_normalisation_and_moments
    """,
    "test_fuzz": """
        test_good_arguments_are_good
    """,
    "test_gauge": """
        test_closed_form_and_grid_agree_within_the_estimate_which_is_neither_bold_nor_absurd
    """,
    "test_kernels": """
        test_backward_euler_kernels_are_non_negative_and_periodic_boxes_work test_exact_kernels_in_the_plane
        test_finite_volumes_at_256_squared test_finite_volumes_tend_to_the_exact_kernel
        test_matrix_free_push_and_pull_at_256_squared test_rows_sum_to_one_in_the_plane
    """,
    "test_kernels_remap": """
        test_bounds_speak_of_the_markov_matrix
    """,
    "test_kernels_samplers": """
        test_heun_is_of_second_order_on_the_grid test_steps_without_noise_by_splines
        test_the_ten_numbers_of_the_gaussian_example
    """,
    "test_kills": """
        test_what_a_killed_process_leaves_is_whole_or_absent
    """,
    "test_particles": """
        test_the_false_alarm_rate_is_kept
    """,
    "test_paths": """
        test_runs_of_tables_against_the_oracle
    """,
    "test_product_form": """
        test_quadrature_over_a_range_states_its_error
    """,
    "test_proofs": """
        test_a_distance_below_every_double_has_an_interval_that_ends_near_nothing
        test_a_drift_that_rises_far_out_is_seen_when_gamma_is_chosen test_a_product_over_blocks_has_one_norm
        test_a_rare_wide_component_is_not_overlooked test_no_contraction_is_an_answer
        test_proved_contractions_are_as_small_as_those_certified_on_a_grid test_random_cases_contain_the_oracle
        test_the_worst_pair_is_found_where_quadrature_finds_it
    """,
    "test_prove": """
        test_the_error_bars_of_a_run_are_proved_to_hold test_without_the_extra_there_is_one_sentence
    """,
    "test_readme": """
        test_the_script_runs_as_it_stands test_the_script_with_a_score_of_ones_own_runs_as_it_stands
        test_the_script_with_proofs_runs_as_it_stands
    """,
    "test_resolution": """
        test_curves_of_resolved_runs_are_covered test_random_problems_are_covered_or_said_to_be_unresolved
        test_tolerances_asked_from_hostile_starts_are_covered_or_said_to_be_unresolved
    """,
    "test_samplers_everywhere": """
        test_noise_on_both_sides_of_a_map_is_one_step
        test_particles_kernels_and_decomposition_are_the_normal_chain_of_the_paper
        test_the_study_of_errors_runs_without_noise
    """,
    "test_scores_probe": """
        test_every_kind_is_recognised
    """,
    "test_status": """
        test_proofs_are_proved_or_no_certificate test_what_the_doors_return_says_what_its_numbers_are
    """,
    "test_stochastic": """
        test_densities_are_conditional_laws_of_particles_that_share_the_noise
    """,
    "test_stochastic_kernels": """
        test_planes_follow_a_rotation_at_high_order_and_keep_mass
    """,
    "test_tiny_distances": """
        test_weighted_distance_between_evolved_laws_against_the_oracle
    """,
    "test_to_marginals": """
        test_in_the_plane_and_on_one_level_without_a_companion
    """,
    "test_verification": """
        test_every_reference_value_holds
    """,
    "test_warm": """
        test_compilation_is_announced_once
    """,
}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """With -n neighbours stay together, for what they share is made once, and the last minutes are shared out."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, so that the fast lane (-m "not slow and not notebook") takes a few minutes."""
    known = {name: set(tests.split()) for name, tests in SLOW.items()}
    for item in items:
        name = item.path.stem
        if name.startswith("test_studies") or getattr(item, "originalname", item.name) in known.get(name, ()):
            item.add_marker(pytest.mark.slow)
