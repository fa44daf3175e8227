from django.contrib.auth.views import LogoutView
from django.urls import path

from frontend.views import (
    accounts,
    devices,
    eligibility,
    jobs,
    joining,
    new_job,
    overview,
    settings,
    usage,
    webhooks,
)

app_name = "frontend"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("sign-in/", accounts.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(next_page="frontend:sign-in"), name="sign-out"),
    path("join/", joining.join, name="join"),
    path("tenant/", accounts.choose_tenant, name="choose-tenant"),
    path("jobs/", jobs.job_list, name="jobs"),
    path("jobs/new/", new_job.new_job, name="new-job"),
    path("jobs/<uuid:job_id>/", jobs.job, name="job"),
    path("jobs/<uuid:job_id>/pause/", jobs.pause, name="job-pause"),
    path("jobs/<uuid:job_id>/resume/", jobs.resume, name="job-resume"),
    path("jobs/<uuid:job_id>/cancel/", jobs.cancel, name="job-cancel"),
    path("jobs/<uuid:job_id>/versions/<int:number>/pin/", jobs.pin, name="version-pin"),
    path("devices/", devices.devices, name="devices"),
    path("devices/eligible/", eligibility.explore, name="eligible"),
    path("devices/pools/", devices.create_pool, name="create-pool"),
    path("devices/tokens/", devices.create_token, name="create-token"),
    path("devices/tokens/<uuid:token_id>/revoke/", devices.revoke_token, name="revoke-token"),
    path("usage/", usage.usage, name="usage"),
    path("usage.csv", usage.usage_csv, name="usage-csv"),
    path("settings/", settings.people, name="settings"),
    path("settings/invitations/", settings.invite, name="settings-invite"),
    path(
        "settings/invitations/<uuid:invitation_id>/revoke/",
        settings.uninvite,
        name="settings-uninvite",
    ),
    path("settings/members/<int:member_id>/", settings.set_member, name="settings-member"),
    path("settings/tokens/", settings.tokens, name="settings-tokens"),
    path("settings/tokens/new/", settings.create_token, name="settings-token-create"),
    path(
        "settings/tokens/<uuid:token_id>/revoke/",
        settings.revoke_token,
        name="settings-token-revoke",
    ),
    path("settings/webhooks/", webhooks.webhooks, name="settings-webhooks"),
    path("settings/webhooks/new/", webhooks.create, name="settings-webhook-create"),
    path(
        "settings/webhooks/<uuid:webhook_id>/delete/",
        webhooks.delete,
        name="settings-webhook-delete",
    ),
    path("settings/webhooks/<uuid:webhook_id>/test/", webhooks.test, name="settings-webhook-test"),
    path("settings/audit/", settings.audit, name="settings-audit"),
]
