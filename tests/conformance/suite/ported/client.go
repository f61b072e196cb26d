// SPDX-License-Identifier: Apache-2.0

package ported

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	controller = gatewayv1.GatewayController("sluice.dev/mesh")
	// The Gateway that the suite's tests of policies name as the ancestor. With Services as parents, a policy's ancestor is
	// the Service that it is for.
	ancestor = "same-namespace"
)

// services is the API as the tests of Gateways expect it: a Service is read as a Gateway, and what Sluice says of a
// parent Service as if it were said of a Gateway. Everything else is what is there.
type services struct{ client.Client }

func (c services) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	switch o := object.(type) {
	case *gatewayv1.GatewayClass:
		o.Name, o.Spec.ControllerName = key.Name, controller
		o.Status.Conditions = conditions("Accepted")
		return nil
	case *gatewayv1.Gateway:
		return c.getGateway(ctx, key, o)
	}
	if err := c.Client.Get(ctx, key, object, options...); err != nil {
		return err
	}
	present(object)
	return nil
}

// Create is for routes that a test has made itself.
func (c services) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	switch o := object.(type) {
	case *gatewayv1.HTTPRoute:
		asServices(o.Spec.ParentRefs)
	case *gatewayv1.TCPRoute:
		asServices(o.Spec.ParentRefs)
	case *gatewayv1.TLSRoute:
		asServices(o.Spec.ParentRefs)
	case *gatewayv1.UDPRoute:
		asServices(o.Spec.ParentRefs)
	}
	return c.Client.Create(ctx, object, options...)
}

func (c services) List(ctx context.Context, objects client.ObjectList, options ...client.ListOption) error {
	if _, ok := objects.(*gatewayv1.GatewayList); ok {
		return nil
	}
	return c.Client.List(ctx, objects, options...)
}

func (c services) getGateway(ctx context.Context, key client.ObjectKey, gateway *gatewayv1.Gateway) error {
	service := corev1.Service{}
	if err := c.Client.Get(ctx, key, &service); err != nil {
		return err
	}
	attached, err := c.attached(ctx, key)
	if err != nil {
		return err
	}
	*gateway = gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace}}
	gateway.Status.Conditions = conditions("Accepted", "Programmed")
	gateway.Status.Addresses = []gatewayv1.GatewayStatusAddress{
		{Type: new(gatewayv1.IPAddressType), Value: service.Spec.ClusterIP},
	}
	for _, port := range service.Spec.Ports {
		name := gatewayv1.SectionName(port.Name)
		gateway.Spec.Listeners = append(gateway.Spec.Listeners, gatewayv1.Listener{Name: name, Port: port.Port})
		gateway.Status.Listeners = append(gateway.Status.Listeners, gatewayv1.ListenerStatus{
			Name: name, AttachedRoutes: attached, Conditions: conditions("Accepted", "Programmed", "ResolvedRefs"),
		})
	}
	return nil
}

// attached counts the HTTPRoutes that a Service has as an accepted parent.
func (c services) attached(ctx context.Context, service client.ObjectKey) (n int32, err error) {
	routes := gatewayv1.HTTPRouteList{}
	if err := c.Client.List(ctx, &routes); err != nil {
		return 0, err
	}
	for _, route := range routes.Items {
		for _, parent := range route.Status.Parents {
			namespace := route.Namespace
			if parent.ParentRef.Namespace != nil {
				namespace = string(*parent.ParentRef.Namespace)
			}
			here := namespace == service.Namespace && string(parent.ParentRef.Name) == service.Name
			for _, condition := range parent.Conditions {
				if here && condition.Type == "Accepted" && condition.Status == metav1.ConditionTrue {
					n++
				}
			}
		}
	}
	return n, nil
}

func conditions(names ...string) (out []metav1.Condition) {
	for _, name := range names {
		out = append(out, metav1.Condition{Type: name, Status: metav1.ConditionTrue, Reason: name})
	}
	return out
}

func parents(object client.Object) *[]gatewayv1.RouteParentStatus {
	switch o := object.(type) {
	case *gatewayv1.HTTPRoute:
		return &o.Status.Parents
	case *gatewayv1.GRPCRoute:
		return &o.Status.Parents
	case *gatewayv1.TLSRoute:
		return &o.Status.Parents
	case *gatewayv1.TCPRoute:
		return &o.Status.Parents
	case *gatewayv1.UDPRoute:
		return &o.Status.Parents
	}
	return nil
}

func asServices(refs []gatewayv1.ParentReference) {
	for i := range refs {
		refs[i].Group, refs[i].Kind = new(gatewayv1.Group("")), new(gatewayv1.Kind("Service"))
	}
}

func asGateway(ref *gatewayv1.ParentReference) {
	ref.Group, ref.Kind = new(gatewayv1.Group(gatewayv1.GroupName)), new(gatewayv1.Kind("Gateway"))
}

// present names Gateways in Sluice's entries of an object's status.
func present(object client.Object) {
	if policy, ok := object.(*gatewayv1.BackendTLSPolicy); ok {
		for i := range policy.Status.Ancestors {
			if entry := &policy.Status.Ancestors[i]; entry.ControllerName == controller {
				entry.AncestorRef.Name, entry.AncestorRef.Namespace = ancestor, nil
				asGateway(&entry.AncestorRef)
			}
		}
	}
	if list := parents(object); list != nil {
		for i := range *list {
			if entry := &(*list)[i]; entry.ControllerName == controller {
				asGateway(&entry.ParentRef)
			}
		}
	}
}

// status writes what others say; Sluice's own entries stay as they are in the API.
type status struct {
	client.SubResourceWriter
	api client.Client
}

func (c services) Status() client.SubResourceWriter {
	return status{c.Client.Status(), c.Client}
}

func (s status) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	live := object.DeepCopyObject().(client.Object)
	if err := s.api.Get(ctx, client.ObjectKeyFromObject(object), live); err != nil {
		return err
	}
	if policy, ok := object.(*gatewayv1.BackendTLSPolicy); ok {
		policy.Status.Ancestors = merge(policy.Status.Ancestors, live.(*gatewayv1.BackendTLSPolicy).Status.Ancestors,
			func(e gatewayv1.PolicyAncestorStatus) bool { return e.ControllerName == controller })
	}
	if list := parents(object); list != nil {
		*list = merge(*list, *parents(live), func(e gatewayv1.RouteParentStatus) bool { return e.ControllerName == controller })
	}
	return s.SubResourceWriter.Update(ctx, object, options...)
}

// merge is ours of live, others of wanted.
func merge[T any](wanted, live []T, ours func(T) bool) (out []T) {
	for _, entry := range live {
		if ours(entry) {
			out = append(out, entry)
		}
	}
	for _, entry := range wanted {
		if !ours(entry) {
			out = append(out, entry)
		}
	}
	return out
}
