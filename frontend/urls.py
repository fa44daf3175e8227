from django.contrib.auth.views import LogoutView
from django.urls import path

from frontend.views import accounts, devices, jobs, overview

app_name = "frontend"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("sign-in/", accounts.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(next_page="frontend:sign-in"), name="sign-out"),
    path("tenant/", accounts.choose_tenant, name="choose-tenant"),
    path("jobs/", jobs.job_list, name="jobs"),
    path("jobs/<uuid:job_id>/", jobs.job, name="job"),
    path("jobs/<uuid:job_id>/pause/", jobs.pause, name="job-pause"),
    path("jobs/<uuid:job_id>/resume/", jobs.resume, name="job-resume"),
    path("jobs/<uuid:job_id>/cancel/", jobs.cancel, name="job-cancel"),
    path("devices/", devices.devices, name="devices"),
    path("devices/pools/", devices.create_pool, name="create-pool"),
    path("devices/tokens/", devices.create_token, name="create-token"),
    path("devices/tokens/<uuid:token_id>/revoke/", devices.revoke_token, name="revoke-token"),
]
